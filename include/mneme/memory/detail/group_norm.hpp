// SPDX-License-Identifier: Apache-2.0
// Layer norm of every head of a row.
#pragma once
#include "../../core/weight.hpp"
#include "../../math/vector.hpp"

namespace mneme::inline MNEME_ABI::detail {

// x <- (x - mean) / sqrt(var + epsilon) w + b, mean and variance of each head; w, b [heads N], tables of T;
// b may be empty.
template <class Arch, class T>
void group_norm(index_t heads, double epsilon, const weight& w, const weight& b, mat_view<T> X) noexcept {
  const index_t N = X.cols() / heads;
  const T count = static_cast<T>(N);
  for (index_t r = 0; r < X.rows(); ++r)
    for (index_t h = 0; h < heads; ++h) {
      T* const x = X[r].data() + h * N;
      const T *gain = data<T>(w) + h * N, *offset = b ? data<T>(b) + h * N : nullptr;
      const T mean = sum_of<Arch>(N, x) / count;
      const T squares = fold<Arch, T>(N, [&]<class P>(index_t i, P sum) {
        const P centred = simd::load<P>(x + i) - P(mean);
        return simd::fma(centred, centred, sum);
      });
      const T scale = T(1) / simd::sqrt(squares / count + static_cast<T>(epsilon));
      for_packs<T, Arch>(N, [&]<class P>(index_t i) {
        const P normal = (simd::load<P>(x + i) - P(mean)) * P(scale), w_i = simd::load<P>(gain + i);
        simd::store(x + i, offset ? simd::fma(normal, w_i, simd::load<P>(offset + i)) : normal * w_i);
      });
    }
}

}  // namespace mneme::inline MNEME_ABI::detail
