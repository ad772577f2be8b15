// SPDX-License-Identifier: Apache-2.0
// A step that may throw is none: the message says what is missing.
// expect: a Memory needs `void step
#include <mneme/core/scan.hpp>

struct memory {
  using scalar = float;
  using state = mneme::nothing;
  mneme::index_t d_in() const { return 1; }
  mneme::index_t d_out() const { return 1; }
  state init(mneme::place = {}) const { return {}; }
#if defined(MNEME_CONTROL)
  void step(mneme::context&, state&, mneme::row_view<const float> x,
            mneme::row_view<float> y) const noexcept {
#else
  void step(mneme::context&, state&, mneme::row_view<const float> x, mneme::row_view<float> y) const {
#endif
      y[0] = x[0];
}
}
;

void use(const memory& m, mneme::context& ctx, memory::state& s) { mneme::scan(m, ctx, s, {}, {}); }
