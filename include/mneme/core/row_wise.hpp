// SPDX-License-Identifier: Apache-2.0
// row_wise: the base of memories without a past (linear, norm, gate, embedding).
#pragma once
#include "lane_wise.hpp"
#include "scan.hpp"

#include <cassert>

namespace mneme::inline MNEME_ABI {

// A stateless layer writes `void map(ctx, X, Y) const noexcept` for equally many rows; this base derives the
// Memory from it. step, scan and scan_many call the same map, and a map must give a row the same bits
// whatever rows come with it (law L21).
template <class Layer, class T, class Input = T>
class row_wise {
 public:
  using scalar = T;
  using input = Input;
  using state = nothing;

  state init(place = {}) const { return {}; }
  void step(context& ctx, state&, row_view<const Input> x, row_view<T> y) const noexcept {
    assert(detail::row_fits(self(), x, y));
    self().map(ctx, mat_view<const Input>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state&, mat_view<const Input> X, mat_view<T> Y) const noexcept {
    assert(detail::rows_fit(self(), X, Y));
    if (Y.rows() > 0) self().map(ctx, X.last(Y.rows()), Y);
  }
  // Lanes all of whose outputs are wanted are one matrix: weights are read once for all of them.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const Input> X,
                 mat_view<T> Y) const noexcept {
    state none;
    if (X.rows() == Y.rows()) return scan(ctx, none, X, Y);
    context::frame scratch(ctx);
    if (Y.rows() > 0) self().map(ctx, needed(scratch, lanes, X), Y);
  }

 private:
  const Layer& self() const { return static_cast<const Layer&>(*this); }
};

}  // namespace mneme::inline MNEME_ABI
