// SPDX-License-Identifier: Apache-2.0
// The decay that state-space models brought to linear recurrences.
#pragma once
#include "../../math/random.hpp"
#include "../../math/vector.hpp"

namespace mneme::inline MNEME_ABI::detail {

// Every row x <- e^(A softplus(x + dt_bias)), A < 0: multipliers in (0, 1).
template <class Arch, class T>
void softplus_decay(mat_view<T> X, const T* A, const T* dt_bias) noexcept {
  for (index_t r = 0; r < X.rows(); ++r) {
    T* const x = X[r].data();
    for_packs<T, Arch>(X.cols(), [&]<class P>(index_t i) {
      const P dt = softplus(simd::load<P>(x + i) + simd::load<P>(dt_bias + i));
      simd::store(x + i, exp(simd::load<P>(A + i) * dt));
    });
  }
}

// The published start of dt_bias: dt = softplus(dt_bias) is log-uniform in [0.001, 0.1].
inline double drawn_dt_bias(random_stream& draw) {
  const double dt = std::exp(draw.uniform(std::log(1e-3), std::log(1e-1)));
  return dt + std::log(-std::expm1(-dt));
}

}  // namespace mneme::inline MNEME_ABI::detail
