// SPDX-License-Identifier: Apache-2.0
// The decay that state-space models brought to linear recurrences.
#pragma once
#include "../../math/decode.hpp"
#include "../../math/tensor_plan.hpp"
#include "../../math/vector.hpp"

namespace mneme::inline MNEME_ABI::detail {

// alpha = e^(-e^A_log softplus(x + dt_bias)): multipliers in (0, 1). One A for every `share` columns of x.
template <class T>
class softplus_decay {
 public:
  softplus_decay() = default;
  softplus_decay(const weight& A_log, const weight& dt_bias)
      : A_(weight::zeros<T>(dt_bias.size())), dt_bias_(decoded<T>(dt_bias)) {
    const weight logs = decoded<T>(A_log);
    const index_t share = dt_bias.size() / logs.size();
    for (index_t i = 0; i < A_.size(); ++i) edit<T>(A_)[i] = -std::exp(data<T>(logs)[i / share]);
  }
  // In place.
  template <class Arch>
  void run(mat_view<T> X) const noexcept {
    const T *A = data<T>(A_), *bias = data<T>(dt_bias_);
    for (index_t r = 0; r < X.rows(); ++r) {
      T* const x = X[r].data();
      for_packs<T, Arch>(X.cols(), [&]<class P>(index_t i) {
        const P dt = softplus(simd::load<P>(x + i) + simd::load<P>(bias + i));
        simd::store(x + i, exp(simd::load<P>(A + i) * dt));
      });
    }
  }

 private:
  weight A_, dt_bias_;  // of T
};

// The published starts: A uniform in (low, 16); dt = softplus(dt_bias) log-uniform in [0.001, 0.1].
inline start drawn_A_log(double low) {
  return [low](random_stream& draw, index_t) { return std::log(draw.uniform(low, 16)); };
}
inline start drawn_dt_bias() {
  return [](random_stream& draw, index_t) {
    const double dt = std::max(1e-4, std::exp(draw.uniform(std::log(1e-3), std::log(1e-1))));
    return dt + std::log(-std::expm1(-dt));
  };
}

}  // namespace mneme::inline MNEME_ABI::detail
