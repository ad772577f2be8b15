// SPDX-License-Identifier: Apache-2.0
// Element-wise gates.
#pragma once
#include "../core/view.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// y = silu(g) u, silu(g) = g / (1 + e^-g)        g, u, y [R, D]; y may be u
struct silu_gate {};

template <>
struct kernel<silu_gate, reference> {
  template <class T>
  static void run(mat_view<const T> G, mat_view<const T> U, mat_view<T> Y) noexcept {
    for (index_t r = 0; r < G.rows(); ++r)
      for (index_t i = 0; i < G.cols(); ++i) {
        const auto g = static_cast<double>(G[r][i]);
        Y[r][i] = static_cast<T>(g / (1 + std::exp(-g)) * static_cast<double>(U[r][i]));
      }
  }
};

}  // namespace mneme::inline MNEME_ABI
