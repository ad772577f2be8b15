// SPDX-License-Identifier: Apache-2.0
// A float memory is not an any_memory<double>: their states would mix.
// expect: conver
#include <mneme/core/any_memory.hpp>
#include <mneme/layer/linear.hpp>

#if defined(MNEME_CONTROL)
using scalar = double;
#else
using scalar = float;
#endif
mneme::any_memory<double> erase(const mneme::linear<scalar>& m) { return m; }
