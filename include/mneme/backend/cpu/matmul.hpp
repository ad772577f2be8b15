// SPDX-License-Identifier: Apache-2.0
// matmul on packs.
#pragma once
#include "../../op/matmul.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Every sum y[r, n] runs over the columns in one fixed order (one pack of partial sums, then across lanes,
// then the ragged tail), in the one-row and in the many-row form alike; so a row has the same bits in both.
//   one row:    weights are decoded in registers, 8 outputs at a time to hide the latency of the sums
//   many rows:  4 weight rows are decoded to scratch once, then multiplied with tiles of rows
template <class Arch>
struct kernel<matmul, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& W, mat_view<const T> X, mat_view<T> Y) noexcept {
    with_dtype(W.type(), [&](auto type) {
      constexpr index_t slice = 64;  // outputs per task
      ctx.parallel_for((W.rows() + slice - 1) / slice, [&](index_t i, context& worker) {
        const index_t from = i * slice, to = std::min(from + slice, W.rows());
        if (X.rows() == 1)
          one_row<type(), T>(W, X[0].data(), Y[0].data(), from, to);
        else
          many_rows<type(), T>(worker, W, X, Y, from, to);
      });
    });
  }

 private:
  template <class T>
  using pack = simd::pack<T, Arch>;

  template <dtype D, class T>
  static void one_row(const weight& W, const T* x, T* y, index_t from, index_t to) noexcept {
    constexpr int together = 8;
    index_t n = from;
    for (; n + together <= to; n += together) outputs<together, D>(W, n, x, y + n);
    for (; n < to; ++n) outputs<1, D>(W, n, x, y + n);
  }
  // N outputs of one row, weights decoded on the way.
  template <int N, dtype D, class T>
  static void outputs(const weight& W, index_t n, const T* x, T* y) noexcept {
    using P = pack<T>;
    constexpr index_t width = simd::width<P>, packs = decode_group / width;
    const index_t K = W.cols(), groups = K / decode_group;
    const std::byte* w[N];
    P sum[N];
    for (int j = 0; j < N; ++j) {
      w[j] = static_cast<const std::byte*>(W.row(n + j));
      sum[j] = P(T(0));
    }
    for (index_t g = 0; g < groups; ++g) {
      P in[packs];
      for (index_t i = 0; i < packs; ++i) in[i] = simd::load<P>(x + g * decode_group + i * width);
      for (int j = 0; j < N; ++j) {
        P v[packs];
        row_decoder<D>::group(w[j] + g * row_decoder<D>::group_bytes, v);
        for (index_t i = 0; i < packs; ++i) sum[j] = simd::fma(v[i], in[i], sum[j]);
      }
    }
    for (int j = 0; j < N; ++j) {
      T s = simd::sum(sum[j]);
      const std::byte* rest = w[j] + groups * row_decoder<D>::group_bytes;
      for (index_t k = groups * decode_group; k < K; ++k)
        s = simd::fma(row_decoder<D>::template tail<T>(rest, k - groups * decode_group), x[k], s);
      y[j] = s;
    }
  }

  template <dtype D, class T>
  static void many_rows(context& ctx, const weight& W, mat_view<const T> X, mat_view<T> Y, index_t from,
                        index_t to) noexcept {
    constexpr int N = 4, R = simd::width<pack<T>> >= 16 ? 6 : 2;  // N R sums and N weights in registers
    context::frame scratch(ctx);
    const auto w = scratch.mat<T>(N, W.cols());
    for (index_t n = from; n < to; n += N) {
      const index_t count = std::min<index_t>(N, to - n);
      for (index_t j = 0; j < count; ++j) decode_row<D, Arch>(W.row(n + j), W.cols(), w[j].data());
      index_t r = 0;
      if (count == N) {
        for (; r + R <= X.rows(); r += R) tile<N, R, T>(w, X, Y, r, n);
        for (; r < X.rows(); ++r) tile<N, 1, T>(w, X, Y, r, n);
      } else {
        for (index_t j = 0; j < count; ++j)
          for (r = 0; r < X.rows(); ++r) tile<1, 1, T>(w.range(j, j + 1), X, Y, r, n + j);
      }
    }
  }
  // Y[r .. r + R, n .. n + N] from decoded weights.
  template <int N, int R, class T>
  static void tile(mat_view<const T> w, mat_view<const T> X, mat_view<T> Y, index_t r, index_t n) noexcept {
    using P = pack<T>;
    constexpr index_t width = simd::width<P>;
    const index_t K = w.cols(), whole = K / decode_group * decode_group;
    P sum[R][N];
    for (auto& row : sum)
      for (auto& s : row) s = P(T(0));
    const T* x[R];
    for (int i = 0; i < R; ++i) x[i] = X[r + i].data();
    const T* v[N];
    for (int j = 0; j < N; ++j) v[j] = w[j].data();
    for (index_t k = 0; k < whole; k += width) {
      P weights[N];
      for (int j = 0; j < N; ++j) weights[j] = simd::load<P>(v[j] + k);
      for (int i = 0; i < R; ++i) {
        const P in = simd::load<P>(x[i] + k);
        for (int j = 0; j < N; ++j) sum[i][j] = simd::fma(weights[j], in, sum[i][j]);
      }
    }
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < N; ++j) {
        T s = simd::sum(sum[i][j]);
        for (index_t k = whole; k < K; ++k) s = simd::fma(v[j][k], x[i][k], s);
        Y[r + i][n + j] = s;
      }
  }
};

}  // namespace mneme::inline MNEME_ABI
