// SPDX-License-Identifier: Apache-2.0
// silu_gate on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/gate.hpp"
#include "../dispatch.hpp"

namespace mneme::inline MNEME_ABI {

template <class Arch>
struct kernel<silu_gate, cpu<Arch>> {
  template <class T>
  static void run(mat_view<const T> G, mat_view<const T> U, mat_view<T> Y) noexcept {
    for (index_t r = 0; r < G.rows(); ++r) {
      const T *g = G[r].data(), *u = U[r].data();
      T* y = Y[r].data();
      for_packs<T, Arch>(G.cols(), [&]<class P>(index_t i) {
        simd::store(y + i, silu(simd::load<P>(g + i)) * simd::load<P>(u + i));
      });
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
