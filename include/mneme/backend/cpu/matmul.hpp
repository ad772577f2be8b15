// SPDX-License-Identifier: Apache-2.0
// matmul on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/matmul.hpp"
#include "../dispatch.hpp"
#include "bf16_product.hpp"
#include "interleaved_product.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Every sum y[r, n] runs over the columns in one fixed order, in the one-row and in the many-row form alike;
// so a row has the same bits in both. Weights as they are stored: one pack of partial sums, then across
// lanes, then the ragged tail; whole blocks of 64 interleaved ones as interleaved_product.hpp says.
//   one row:    weights are decoded in registers, 8 outputs at a time to hide the latency of the sums
//   many rows:  4 weight rows are decoded to scratch once, then multiplied with tiles of rows
template <class Arch>
struct kernel<matmul, cpu<Arch>> {
  // Whether precision::fast multiplies interleaved weights of this type with rows rounded to bfloat16, of
  // which each input is off by up to 2^-8 of itself; else it is exact.
  static constexpr bool multiplies_bf16(dtype type) {
    return with_dtype(type, [](auto d) { return detail::has_bf16_product<d(), Arch>; });
  }
  template <class T>
  static void run(context& ctx, const weight& W, mat_view<const T> X, mat_view<T> Y) noexcept {
    if (X.rows() == 0) return;
    with_dtype(W.type(), [&](auto type) {
      index_t done = 0;
      if constexpr (std::is_same_v<T, float> && interleaves(type()))
        if (W.interleaved()) done = interleaved_blocks<type()>(ctx, W, X, Y);
      ctx.parallel_for((W.rows() - done + slice - 1) / slice, [&](index_t i, context& worker) {
        const index_t from = done + i * slice, to = std::min(from + slice, W.rows());
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
  static constexpr index_t slice = 64;  // outputs per task

  // All outputs of whole interleaved blocks; returns how many.
  template <dtype D>
  static index_t interleaved_blocks(context& ctx, const weight& W, mat_view<const float> X,
                                    mat_view<float> Y) noexcept {
    if constexpr (detail::has_bf16_product<D, Arch>)
      if (ctx.numeric == precision::fast) return blocks_by<detail::bf16_product<D>>(ctx, W, X, Y);
    return blocks_by<detail::interleaved_product<D, Arch>>(ctx, W, X, Y);
  }
  template <class Product>
  static index_t blocks_by(context& ctx, const weight& W, mat_view<const float> X,
                           mat_view<float> Y) noexcept {
    context::frame scratch(ctx);
    const auto rows = Product::prepared(scratch, X);
    const index_t blocks = W.rows() / interleaved_rows;
    ctx.parallel_for(blocks, [&](index_t i, context& worker) {
      if (X.rows() == 1)
        Product::one_row(W, rows, Y[0].data(), i * interleaved_rows);
      else
        Product::many_rows(worker, W, rows, Y, i * interleaved_rows);
    });
    return blocks * interleaved_rows;
  }

  template <dtype D, class T>
  static void one_row(const weight& W, const T* x, T* y, index_t from, index_t to) noexcept {
    constexpr int together = 8;
    index_t n = from;
    for (; n + together <= to; n += together) outputs<together, D>(W, n, x, y + n);
    for (; n < to; ++n) outputs<1, D>(W, n, x, y + n);
  }
  // N outputs of one row, weights decoded on the way.
  template <int N, dtype D, class T>
  [[gnu::flatten]] static void outputs(const weight& W, index_t n, const T* x, T* y) noexcept {
    using P = pack<T>;
    constexpr index_t width = simd::width<P>, packs = decode_group / width;
    const index_t K = W.cols(), groups = K / decode_group, row = row_bytes(D, K);
    // No hardware prefetcher follows N rows side by side: the next N are asked for.
    const index_t ahead = N > 1 && n + 2 * N <= W.rows() ? N * row : 0;
    const auto* w = static_cast<const std::byte*>(W.row(n));
    P sum[N];
    unrolled<N>([&](index_t j) { sum[j] = P(T(0)); });
    for (index_t g = 0; g < groups; ++g, w += row_decoder<D>::group_bytes) {
      P in[packs];
      unrolled<packs>([&](index_t i) { in[i] = simd::load<P>(x + g * decode_group + i * width); });
      unrolled<N>([&](index_t j) {
        __builtin_prefetch(w + j * row + ahead);
        P v[packs];
        row_decoder<D>::group(w + j * row, v);
        unrolled<packs>([&](index_t i) { sum[j] = simd::fma(v[i], in[i], sum[j]); });
      });
    }
    if constexpr (N % 4 == 0) {
      unrolled<N / 4>([&](index_t j) { simd::sums_of_four(sum + 4 * j, y + 4 * j); });
    } else {
      unrolled<N>([&](index_t j) { y[j] = simd::sum(sum[j]); });
    }
    for (index_t k = groups * decode_group; k < K; ++k)
      for (int j = 0; j < N; ++j)
        y[j] = simd::fma(row_decoder<D>::template tail<T>(w + j * row, k % decode_group), x[k], y[j]);
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
      if (count == N) {
        index_t r = 0;
        for (; r + R <= X.rows(); r += R) tile<N, R, T>(w, X, Y, r, n);
        for (; r + 2 <= X.rows(); r += 2) tile<N, 2, T>(w, X, Y, r, n);
        if (r < X.rows()) tile<N, 1, T>(w, X, Y, r, n);
      } else {
        for (index_t j = 0; j < count; ++j)
          for (index_t r = 0; r < X.rows(); ++r) tile<1, 1, T>(w.range(j, j + 1), X, Y, r, n + j);
      }
    }
  }
  // Y[r .. r + R, n .. n + N] from decoded weights.
  template <int N, int R, class T>
  [[gnu::flatten]] static void tile(mat_view<const T> w, mat_view<const T> X, mat_view<T> Y, index_t r,
                                    index_t n) noexcept {
    using P = pack<T>;
    constexpr index_t width = simd::width<P>;
    const index_t K = w.cols(), whole = K / decode_group * decode_group;
    P sum[R][N];
    unrolled<R>([&](index_t i) { unrolled<N>([&](index_t j) { sum[i][j] = P(T(0)); }); });
    const T *x[R], *v[N];
    for (int i = 0; i < R; ++i) x[i] = X[r + i].data();
    for (int j = 0; j < N; ++j) v[j] = w[j].data();
    for (index_t k = 0; k < whole; k += width) {
      P weights[N];
      unrolled<N>([&](index_t j) { weights[j] = simd::load<P>(v[j] + k); });
      unrolled<R>([&](index_t i) {
        const P in = simd::load<P>(x[i] + k);
        unrolled<N>([&](index_t j) { sum[i][j] = simd::fma(weights[j], in, sum[i][j]); });
      });
    }
    unrolled<R>([&](index_t i) {
      T* y = Y[r + i].data() + n;
      if constexpr (N == 4)
        simd::sums_of_four(sum[i], y);
      else
        y[0] = simd::sum(sum[i][0]);
    });
    for (index_t k = whole; k < K; ++k)
      for (int i = 0; i < R; ++i)
        for (int j = 0; j < N; ++j) Y[r + i][n + j] = simd::fma(v[j][k], x[i][k], Y[r + i][n + j]);
  }
};

}  // namespace mneme::inline MNEME_ABI
