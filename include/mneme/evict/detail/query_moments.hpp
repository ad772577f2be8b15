// SPDX-License-Identifier: Apache-2.0
// Mean and covariance of a stream of queries, kept as mean [d], covariance [d][d].
#pragma once
#include "../../core/view.hpp"
#include "../../math/simd.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI::evict::detail {

// The n-th query joins: with s = 1 / n and x = q - mean, cov <- cov + s ((1 - s) x x' - cov), mean <- mean +
// s x.
template <class T>
void add_to_moments(row_view<T> memory, row_view<const T> query, index_t n) {
  const T share = T(1) / static_cast<T>(n);
  const index_t d = query.size();
  for (index_t i = 0; i < d; ++i)
    for (index_t j = 0; j < d; ++j) {
      const T product = (T(1) - share) * (query[i] - memory[i]) * (query[j] - memory[j]);
      T& s = memory[d + i * d + j];
      s = simd::fma(share, product - s, s);
    }
  for (index_t i = 0; i < d; ++i) memory[i] = simd::fma(share, query[i] - memory[i], memory[i]);
}

// ln E exp(q . k / sqrt(d)) for normal q.
template <class T>
double expected_exponent(row_view<const T> memory, row_view<const T> key) {
  const index_t d = key.size();
  double linear = 0, quadratic = 0;
  for (index_t i = 0; i < d; ++i) {
    double row = 0;
    for (index_t j = 0; j < d; ++j)
      row += static_cast<double>(memory[d + i * d + j]) * static_cast<double>(key[j]);
    linear += static_cast<double>(memory[i]) * static_cast<double>(key[i]);
    quadratic += row * static_cast<double>(key[i]);
  }
  return linear / std::sqrt(static_cast<double>(d)) + quadratic / (2 * static_cast<double>(d));
}

}  // namespace mneme::inline MNEME_ABI::evict::detail
