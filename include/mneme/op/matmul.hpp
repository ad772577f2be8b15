// SPDX-License-Identifier: Apache-2.0
// matmul: rows times a stored weight matrix.
#pragma once
#include "../core/context.hpp"
#include "../core/weight.hpp"
#include "../math/decode.hpp"

namespace mneme::inline MNEME_ABI {

// Y = X W^T
//   W  [N, K] of any storage type, multiplied in that form; accumulation in T
//   X  [R, K]      Y [R, N]
// Row-stable (law L21): the bits of a row of Y do not depend on R. 2 R N K flops; reads W once per call.
struct matmul {};

template <>
struct kernel<matmul, reference> {
  template <class T>
  static void run(context& ctx, const weight& W, mat_view<const T> X, mat_view<T> Y) noexcept {
    context::frame scratch(ctx);
    const auto w = scratch.row<double>(W.cols());
    for (index_t n = 0; n < W.rows(); ++n) {
      decode_row<simd::scalar>(W.type(), W.row(n), W.cols(), w.data());
      for (index_t r = 0; r < X.rows(); ++r) {
        double sum = 0;
        for (index_t k = 0; k < W.cols(); ++k) sum += w[k] * static_cast<double>(X[r][k]);
        Y[r][n] = static_cast<T>(sum);
      }
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
