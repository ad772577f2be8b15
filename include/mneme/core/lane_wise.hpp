// SPDX-License-Identifier: Apache-2.0
// lane_wise: the base of memories that work on the packed rows of many streams at once.
#pragma once
#include "concepts.hpp"

#include <algorithm>
#include <cassert>

namespace mneme::inline MNEME_ABI {

// f(X block, Y block) over blocks of block_rows rows; Y holds the last Y.rows() outputs of the whole. Legal
// because of law L1; bounds the scratch of a call by block_rows x width.
template <class Mat, class Out, class F>
void for_row_blocks(index_t block_rows, Mat X, Out Y, F&& f) {
  const index_t T = X.rows(), skip = T - Y.rows();
  for (index_t a = 0; a < T; a += block_rows) {
    const index_t b = std::min(a + block_rows, T);
    const index_t from = std::max(a, skip), to = std::max(b, skip);
    f(X.range(a, b), Y.range(from - skip, to - skip));
  }
}

// f(lane, its first row of X, its first row of Y).
template <class S, class F>
void for_lanes(std::span<const lane<S>> lanes, F&& f) {
  index_t row = 0, out = 0;
  for (const auto& l : lanes) {
    f(l, row, out);
    row += l.rows, out += l.outs;
  }
}

// Rows of a lane that its last `outs` outputs need, if each also looks at the `before` rows before it.
template <class S>
index_t needed_rows(const lane<S>& l, index_t before) {
  return std::min(l.rows, l.outs + before);
}
// The last needed rows of every lane, packed; a part of X itself where that is possible.
template <class In, class S>
mat_view<const In> needed(context::frame& scratch, std::span<const lane<S>> lanes, mat_view<const In> X,
                          index_t before = 0) {
  index_t count = 0;
  for (const auto& l : lanes) count += needed_rows(l, before);
  if (count == X.rows() || lanes.size() == 1) return X.last(count);
  const auto rows = scratch.template mat<In>(count, X.cols());
  index_t to = 0;
  for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
    for (index_t r = row + l.rows - needed_rows(l, before); r < row + l.rows; ++r, ++to)
      std::copy(X[r].begin(), X[r].end(), rows[to].begin());
  });
  return rows;
}

// A memory M writes `void scan_many(ctx, lanes, X, Y) const noexcept`; this base derives step and scan from
// it, so that one body of code serves a token, a text and a batch.
template <class M, class T, class Input = T>
class lane_wise {
 public:
  using scalar = T;
  using input = Input;

  template <class S>
  void step(context& ctx, S& s, row_view<const Input> x, row_view<T> y) const noexcept {
    assert(detail::row_fits(self(), x, y));
    one_lane(ctx, s, mat_view<const Input>(x), mat_view<T>(y));
  }
  template <class S>
  void scan(context& ctx, S& s, mat_view<const Input> X, mat_view<T> Y) const noexcept {
    assert(detail::rows_fit(self(), X, Y));
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { one_lane(ctx, s, x, y); });
  }

 private:
  const M& self() const { return static_cast<const M&>(*this); }
  template <class S>
  void one_lane(context& ctx, S& s, mat_view<const Input> X, mat_view<T> Y) const noexcept {
    const lane<S> one{&s, X.rows(), Y.rows()};
    self().scan_many(ctx, std::span<const lane<S>>(&one, 1), X, Y);
  }
};

}  // namespace mneme::inline MNEME_ABI
