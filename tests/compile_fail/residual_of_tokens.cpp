// SPDX-License-Identifier: Apache-2.0
// Token ids cannot be added to rows.
// expect: constraint
#include <mneme/core/compose/residual.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#if defined(MNEME_CONTROL)
using part = mneme::linear<float>;
#else
using part = mneme::embedding<float>;
#endif
auto make(const part& m) { return mneme::residual(m); }
