// SPDX-License-Identifier: Apache-2.0
// A few rows of a large table: their weighted sum, and their products with a vector.
#pragma once
#include "../core/context.hpp"
#include "../core/weight.hpp"
#include "../math/decode.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Weighted sums of rows.
//   y = sum over m of w[m] V[ids[m]], in the order of m        ids, w [R, M]    V [N, dv]    Y [R, dv]
// 2 M dv flops per row of Y; reads M rows of V, of any storage type. An id below 0 is skipped, whatever its
// weight; others are below N. Row-stable.
struct embedding_bag {};

// Products with rows.
//   d[m] = U[ids[m]] . x        ids [R, M]    U [N, D]    X [R, D]    Y [R, M]
// 2 M D flops per row of Y; reads M rows of U, of any storage type. An id below 0 gives 0; others are below
// N. Row-stable.
struct embedding_dot {};

template <>
struct kernel<embedding_bag, reference> {
  template <class T>
  static void run(context& ctx, const weight& V, mat_view<const index_t> ids, mat_view<const T> w,
                  mat_view<T> Y) noexcept {
    context::frame scratch(ctx);
    const auto row = scratch.row<double>(V.cols()), y = scratch.row<double>(V.cols());
    for (index_t r = 0; r < ids.rows(); ++r) {
      std::fill(y.begin(), y.end(), 0.0);
      for (index_t m = 0; m < ids.cols(); ++m) {
        if (ids[r][m] < 0) continue;
        decode_row<simd::scalar>(V.type(), V.row(ids[r][m]), V.cols(), row.data());
        for (index_t d = 0; d < V.cols(); ++d) y[d] += static_cast<double>(w[r][m]) * row[d];
      }
      for (index_t d = 0; d < V.cols(); ++d) Y[r][d] = static_cast<T>(y[d]);
    }
  }
};

template <>
struct kernel<embedding_dot, reference> {
  template <class T>
  static void run(context& ctx, const weight& U, mat_view<const index_t> ids, mat_view<const T> X,
                  mat_view<T> Y) noexcept {
    context::frame scratch(ctx);
    const auto row = scratch.row<double>(U.cols());
    for (index_t r = 0; r < ids.rows(); ++r)
      for (index_t m = 0; m < ids.cols(); ++m) {
        double sum = 0;
        if (ids[r][m] >= 0) {
          decode_row<simd::scalar>(U.type(), U.row(ids[r][m]), U.cols(), row.data());
          for (index_t d = 0; d < U.cols(); ++d) sum += row[d] * static_cast<double>(X[r][d]);
        }
        Y[r][m] = static_cast<T>(sum);
      }
  }
};

}  // namespace mneme::inline MNEME_ABI
