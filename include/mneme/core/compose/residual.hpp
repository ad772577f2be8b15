// SPDX-License-Identifier: Apache-2.0
// residual(m): y = x + m(x).
#pragma once
#include "../error.hpp"
#include "../scan.hpp"
#include "group.hpp"

namespace mneme::inline MNEME_ABI {

// A skip connection.
//   y = x + m(x)
// Cost per token: m. State: that of m, as are the weights.
template <Memory M>
  requires std::same_as<input_t<M>, scalar_t<M>>
class residual_of {
 public:
  using scalar = scalar_t<M>;
  using space = space_t<M>;
  using state = state_t<M>;
  static constexpr bool row_stable = mneme::row_stable<M>;

  // Fails if m does not give rows as wide as it takes.
  explicit residual_of(M m) : inner_(std::move(m)) {
    if (inner_.d_in() != inner_.d_out())
      fail(
          message("residual: the inner memory takes rows of ", inner_.d_in(), " and gives ", inner_.d_out()));
  }

  index_t d_in() const { return inner_.d_in(); }
  index_t d_out() const { return inner_.d_out(); }
  const M& inner() const { return inner_; }
  state init(place_in<space> where = {}) const { return inner_.init(where); }

  void step(context_of<M>& ctx, state& s, row_in<M> x, row_out<M> y) const noexcept {
    inner_.step(ctx, s, x, y);
    add_rows<scalar>(ctx, mat_in<M>(x), mat_out<M>(y));
  }
  void scan(context_of<M>& ctx, state& s, mat_in<M> X, mat_out<M> Y) const {
    mneme::scan(inner_, ctx, s, X, Y);
    add_rows<scalar>(ctx, X.last(Y.rows()), Y);
  }
  void scan_many(context_of<M>& ctx, lanes_of<M> lanes, mat_in<M> X, mat_out<M> Y) const {
    mneme::scan_many(inner_, ctx, lanes, X, Y);
    index_t x = 0, y = 0;
    for (const auto& l : lanes) {
      x += l.rows;
      add_rows<scalar>(ctx, X.range(x - l.outs, x), Y.range(y, y + l.outs));
      y += l.outs;
    }
  }

  bool reserve(state& s, index_t n) const
    requires Growing<M>
  {
    return inner_.reserve(s, n);
  }
  void end_segment(context_of<M>& ctx, state& s) const
    requires Segmented<M>
  {
    inner_.end_segment(ctx, s);
  }
  bool valid(const state& s) const { return mneme::valid(inner_, s); }
  decltype(auto) weights() { return weights_of(inner_); }
  decltype(auto) weights() const { return weights_of(inner_); }

 private:
  M inner_;
};

// A factory: deduction of residual_of(residual_of(m)) would be a copy and silently lose one skip connection.
template <Memory M>
residual_of<M> residual(M m) {
  return residual_of<M>(std::move(m));
}

}  // namespace mneme::inline MNEME_ABI
