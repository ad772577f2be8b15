// SPDX-License-Identifier: Apache-2.0
// rms_normalise on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/rms_norm.hpp"
#include "../dispatch.hpp"

namespace mneme::inline MNEME_ABI {

template <class Arch>
struct kernel<rms_normalise, cpu<Arch>> {
  template <class T>
  static void run(const weight& w, double epsilon, mat_view<const T> X, mat_view<T> Y) noexcept {
    const index_t D = X.cols();
    for (index_t r = 0; r < X.rows(); ++r) {
      const T* x = X[r].data();
      T* y = Y[r].data();
      const T mean = dot<Arch>(D, x, x) / static_cast<T>(D);
      const T scale = T(1) / simd::sqrt(mean + static_cast<T>(epsilon));
      decode_row<Arch>(w.type(), w.data(), D, y);
      for_packs<T, Arch>(D, [&]<class P>(index_t i) {
        simd::store(y + i, simd::load<P>(x + i) * P(scale) * simd::load<P>(y + i));
      });
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
