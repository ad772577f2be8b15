// SPDX-License-Identifier: Apache-2.0
// A member of the state that fields does not visit would be missing in every file.
// expect: state::fields must visit every member of the state
#include <mneme/core/scan.hpp>

struct memory {
  using scalar = float;
  struct state {
    mneme::buffer<float> level;
    mneme::index_t seen = 0;
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("level", s.level...);
#if defined(MNEME_CONTROL)
      f("seen", s.seen...);
#endif
    }
  };
  mneme::index_t d_in() const { return 1; }
  mneme::index_t d_out() const { return 1; }
  state init(mneme::place where = {}) const { return {mneme::buffer<float>(1, 0.0f, where), 0}; }
  void step(mneme::context&, state&, mneme::row_view<const float> x,
            mneme::row_view<float> y) const noexcept {
    y[0] = x[0];
  }
};

void use(const memory& m, mneme::context& ctx, memory::state& s) { mneme::scan(m, ctx, s, {}, {}); }
