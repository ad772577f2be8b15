// SPDX-License-Identifier: Apache-2.0
// Root-mean-square normalisation of rows.
#pragma once
#include "../core/view.hpp"
#include "../core/weight.hpp"
#include "../math/decode.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// y = x / sqrt(mean(x^2) + epsilon) * w        x, y [R, D]   w [D] (F32 or F64)
struct rms_normalise {};

template <>
struct kernel<rms_normalise, reference> {
  template <class T>
  static void run(const weight& w, double epsilon, mat_view<const T> X, mat_view<T> Y) noexcept {
    for (index_t r = 0; r < X.rows(); ++r) {
      double squares = 0;
      for (T x : X[r]) squares += static_cast<double>(x) * static_cast<double>(x);
      const double scale = 1 / std::sqrt(squares / static_cast<double>(X.cols()) + epsilon);
      for (index_t i = 0; i < X.cols(); ++i) {
        double wi = 0;
        decode_row<simd::scalar>(
            w.type(), static_cast<const std::byte*>(w.data()) + i * row_bytes(w.type(), 1), 1, &wi);
        Y[r][i] = static_cast<T>(static_cast<double>(X[r][i]) * scale * wi);
      }
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
