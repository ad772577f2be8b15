// SPDX-License-Identifier: Apache-2.0
// Rows of float and of double are not added.
// expect: SameRows
#include <mneme/core/compose/parallel.hpp>
#include <mneme/layer/linear.hpp>

#if defined(MNEME_CONTROL)
using other = mneme::linear<float>;
#else
using other = mneme::linear<double>;
#endif
auto make(const mneme::linear<float>& a, const other& b) { return mneme::parallel(a, b); }
