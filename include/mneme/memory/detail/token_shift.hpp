// SPDX-License-Identifier: Apache-2.0
// token_shift: what RWKV layers mix into a token of the token before it.
#pragma once
#include "../../core/buffer.hpp"
#include "../../core/lane_wise.hpp"
#include "../../math/tensor_plan.hpp"
#include "../../math/vector.hpp"

namespace mneme::inline MNEME_ABI::detail {

// d_t = x_(t-1) - x_t of all rows, in scratch. `last`, a row of every state, holds the input before the first
// row of its lane (zeros at the start), afterwards that of the last row.
template <class T, class S>
mat_view<const T> shift_difference(context::frame& scratch, std::span<const lane<S>> lanes,
                                   buffer<T> S::* last, mat_view<const T> X) noexcept {
  const auto d = scratch.template mat<T>(X.rows(), X.cols());
  for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
    if (l.rows == 0) return;
    T* const kept = (l.state->*last).data();
    for (index_t r = row; r < row + l.rows; ++r) {
      const T* const before = r == row ? kept : X[r - 1].data();
      for (index_t i = 0; i < X.cols(); ++i) d[r][i] = before[i] - X[r][i];
    }
    const auto newest = X[row + l.rows - 1];
    std::copy(newest.begin(), newest.end(), kept);
  });
  return d;
}

// The same of the next row of one stream, which `last` does not keep.
template <class T>
mat_view<const T> shift_difference(context::frame& scratch, const buffer<T>& last, mat_view<const T> x) {
  const auto d = scratch.template mat<T>(1, x.cols());
  for (index_t i = 0; i < x.cols(); ++i) d[0][i] = last[i] - x[0][i];
  return d;
}

// x + mu d, in scratch rows          mu [D], a table of T
template <class Arch, class T>
mat_view<T> shifted(context::frame& scratch, mat_view<const T> X, mat_view<const T> d,
                    const weight& mu) noexcept {
  const auto Y = scratch.template mat<T>(X.rows(), X.cols());
  for (index_t r = 0; r < X.rows(); ++r)
    for_packs<T, Arch>(X.cols(), [&]<class P>(index_t i) {
      const P share = simd::load<P>(data<T>(mu) + i);
      simd::store(Y[r].data() + i,
                  simd::fma(share, simd::load<P>(d[r].data() + i), simd::load<P>(X[r].data() + i)));
    });
  return Y;
}
// The same where every token has shares of its own: M <- x + (mu + M) d.
template <class Arch, class T>
void shift_by(mat_view<const T> X, mat_view<const T> d, const weight& mu, mat_view<T> M) noexcept {
  for (index_t r = 0; r < X.rows(); ++r)
    for_packs<T, Arch>(X.cols(), [&]<class P>(index_t i) {
      const P share = simd::load<P>(data<T>(mu) + i) + simd::load<P>(M[r].data() + i);
      simd::store(M[r].data() + i,
                  simd::fma(share, simd::load<P>(d[r].data() + i), simd::load<P>(X[r].data() + i)));
    });
}

// Where a layer stands in its stack, as the published starts see it: 0 to 1, and 1 to almost 0.
struct depth {
  double rising, falling;
};
inline depth depth_of(index_t layer, index_t layers) {
  const double at = static_cast<double>(layer), of = static_cast<double>(layers);
  return {layers > 1 ? at / (of - 1) : 0, 1 - at / of};
}
// mu_i = 1 - (i / D)^exponent - less
inline start shift_start(index_t D, double exponent, double less = 0) {
  return [D, exponent, less](random_stream&, index_t i) {
    return 1 - std::pow(static_cast<double>(i) / static_cast<double>(D), exponent) - less;
  };
}

}  // namespace mneme::inline MNEME_ABI::detail
