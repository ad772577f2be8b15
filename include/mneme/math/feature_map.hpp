// SPDX-License-Identifier: Apache-2.0
// Feature maps of queries and keys.
#pragma once
#include "vector.hpp"

namespace mneme::inline MNEME_ABI {

// Element-wise maps phi. elu1, relu, relu_squared and sigmoid give no negative features, as a sum normaliser
// needs.
enum class feature_map : std::uint8_t {
  identity,
  elu1,  // x + 1 where x > 0, else e^x
  relu,
  relu_squared,
  silu,
  sigmoid,
};

// x <- phi(x).
template <class Arch, class T>
void apply(feature_map phi, row_view<T> x) noexcept {
  const auto map = [x](auto&& f) { map_row<Arch>(x.size(), x.data(), x.data(), f); };
  switch (phi) {
    case feature_map::identity: return;
    case feature_map::elu1: return map([]<class P>(P a) { return simd::select(a > P(0), a + P(1), exp(a)); });
    case feature_map::relu: return map([]<class P>(P a) { return simd::max(a, P(0)); });
    case feature_map::relu_squared:
      return map([]<class P>(P a) { return simd::max(a, P(0)) * simd::max(a, P(0)); });
    case feature_map::silu: return map([]<class P>(P a) { return silu(a); });
    case feature_map::sigmoid: return map([]<class P>(P a) { return sigmoid(a); });
  }
}

// x <- x scale / sqrt(sum x^2 + epsilon).
template <class Arch, class T>
void l2_normalise(row_view<T> x, T epsilon, T scale = T(1)) noexcept {
  const T factor = scale / simd::sqrt(dot<Arch>(x.size(), x.data(), x.data()) + epsilon);
  map_row<Arch>(x.size(), x.data(), x.data(), [factor]<class P>(P a) { return a * P(factor); });
}

}  // namespace mneme::inline MNEME_ABI
