// SPDX-License-Identifier: Apache-2.0
// A memory whose state cannot be told where to live.
// expect: a Memory needs `state init
#include <mneme/core/scan.hpp>

struct memory {
  using scalar = float;
  using state = mneme::nothing;
  mneme::index_t d_in() const { return 1; }
  mneme::index_t d_out() const { return 1; }
#if defined(MNEME_CONTROL)
  state init(mneme::place = {}) const { return {}; }
#else
  state init() const { return {}; }
#endif
  void step(mneme::context&, state&, mneme::row_view<const float> x,
            mneme::row_view<float> y) const noexcept {
    y[0] = x[0];
  }
};

void use(const memory& m, mneme::context& ctx, memory::state& s) { mneme::scan(m, ctx, s, {}, {}); }
