// SPDX-License-Identifier: Apache-2.0
// The state of a float memory does not go into a double memory.
// expect: any_state<(double|float)>
#include <mneme/core/any_memory.hpp>

#if defined(MNEME_CONTROL)
using scalar = double;
#else
using scalar = float;
#endif
void use(const mneme::any_memory<double>& m, mneme::context& ctx, mneme::any_state<scalar>& s,
         mneme::row_view<const double> x, mneme::row_view<double> y) {
  m.step(ctx, s, x, y);
}
