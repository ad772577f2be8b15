// SPDX-License-Identifier: Apache-2.0
// Widths of another type than index_t are none.
// expect: a Memory needs `index_t d_in
#include <mneme/core/scan.hpp>

struct memory {
  using scalar = float;
  using state = mneme::nothing;
#if defined(MNEME_CONTROL)
  mneme::index_t d_in() const { return 1; }
#else
  int d_in() const { return 1; }
#endif
  mneme::index_t d_out() const { return 1; }
  state init(mneme::place = {}) const { return {}; }
  void step(mneme::context&, state&, mneme::row_view<const float> x,
            mneme::row_view<float> y) const noexcept {
    y[0] = x[0];
  }
};

void use(const memory& m, mneme::context& ctx, memory::state& s) { mneme::scan(m, ctx, s, {}, {}); }
