// SPDX-License-Identifier: Apache-2.0
// What memories with projections share: rows of many lanes through one product, then lane by lane.
#pragma once
#include "../../core/concepts.hpp"
#include "../../math/encode.hpp"
#include "../../op/matmul.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::detail {

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
template <class T, class S>
mat_view<const T> needed(context::frame& scratch, std::span<const lane<S>> lanes, mat_view<const T> X,
                         index_t before = 0) {
  index_t count = 0;
  for (const auto& l : lanes) count += needed_rows(l, before);
  if (count == X.rows() || lanes.size() == 1) return X.last(count);
  const auto rows = scratch.template mat<T>(count, X.cols());
  index_t to = 0;
  for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
    for (index_t r = row + l.rows - needed_rows(l, before); r < row + l.rows; ++r, ++to)
      std::copy(X[r].begin(), X[r].end(), rows[to].begin());
  });
  return rows;
}

// X W^T in scratch rows.
template <class Backend, class T>
mat_view<T> project(context& ctx, context::frame& scratch, const weight& W, mat_view<const T> X) noexcept {
  const auto Y = scratch.template mat<T>(X.rows(), W.rows());
  if (X.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, W, X, Y);
  return Y;
}

// A seeded weight in the asked storage type where its rows fill the blocks of that type, else in float32.
inline weight stored_if_whole(const weight& w, dtype type) {
  return w.cols() % info(type).block == 0 ? stored_as(w, type) : w;
}

}  // namespace mneme::inline MNEME_ABI::detail
