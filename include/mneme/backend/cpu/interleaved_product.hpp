// SPDX-License-Identifier: Apache-2.0
// Products with interleaved weights (math/interleave.hpp): neighbouring outputs lie side by side in a pack.
#pragma once
#include "../../core/context.hpp"
#include "../../math/interleave.hpp"
#include "../../math/sums.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::detail {

// Outputs of whole blocks of 64 rows. Per output and group of 32 columns one partial sum of codes times
// inputs, columns in pairs (interleaved_group::first, second), then scaled and added; the minimum times the
// sum of the inputs likewise. One row and many rows form every sum in this order, so a row has the same bits
// in both.
//   one row:    codes become numbers in registers, a block at a time; memory is read from end to end
//   many rows:  a strip of a block is decoded to scratch once, then multiplied with tiles of rows
template <dtype D, class Arch>
class interleaved_product {
  using T = float;
  using P = simd::pack<T, Arch>;
  using group = interleaved_group<D>;
  static constexpr index_t W = simd::width<P>;
  static constexpr index_t group_bytes = row_bytes(D, decode_group) * interleaved_rows;

 public:
  // Rows, and the sums over their groups of 32 columns, if minima are to be multiplied with them.
  struct rows {
    mat_view<const T> X;
    mat_view<T> sums;  // [R, K / 32] or no columns
    T sum(index_t r, index_t g) const { return group::has_minimum ? sums[r][g] : T(0); }
  };
  static rows prepared(context::frame& scratch, mat_view<const T> X) noexcept {
    const rows in{X, scratch.mat<T>(X.rows(), group::has_minimum ? X.cols() / decode_group : 0)};
    for (index_t r = 0; r < X.rows(); ++r)
      for (index_t g = 0; g < in.sums.cols(); ++g) {
        P sum = simd::load<P>(X[r].data() + g * decode_group);
        for (index_t i = W; i < decode_group; i += W)
          sum = sum + simd::load<P>(X[r].data() + g * decode_group + i);
        in.sums[r][g] = simd::sum(sum);
      }
    return in;
  }
  // y[n .. n + 64] of one row, n a multiple of 64.
  [[gnu::flatten]] static void one_row(const weight& w, const rows& in, T* y, index_t n) noexcept {
    constexpr index_t N = interleaved_rows / W, M = std::min<index_t>(N, 4);  // packs; so many in registers
    const index_t K = w.cols(), groups = K / decode_group;
    const std::byte* p = interleaved_block(w, n);
    const T* x = in.X[0].data();
    P sum[N];
    for (index_t i = 0; i < N; ++i) sum[i] = P(T(0));
    for (index_t g = 0; g < groups; ++g, p += group_bytes, x += decode_group)
      for (index_t i = 0; i < N; i += M) {
        P part[M];
        unrolled<M>([&](index_t m) { part[m] = group::scaled ? P(T(0)) : sum[i + m]; });
        for (index_t j = 0; j < decode_group / 2; ++j) {
          const P first(x[group::first(j)]), second(x[group::second(j)]);
          if (i == 0) group::prefetch(p + 2 * group_bytes, j);
          unrolled<M>([&](index_t m) {
            P a, b;
            group::columns(p, j, (i + m) * W, a, b);
            part[m] = simd::fma(b, second, simd::fma(a, first, part[m]));
          });
        }
        unrolled<M>(
            [&](index_t m) { sum[i + m] = group::added(p, (i + m) * W, part[m], sum[i + m], in.sum(0, g)); });
      }
    if constexpr (!group::scaled)
      for (index_t j = 0; j < K % decode_group; ++j)
        for (index_t i = 0; i < N; ++i)
          sum[i] = simd::fma(group::template column<P>(p, j, i * W), P(x[j]), sum[i]);
    for (index_t i = 0; i < N; ++i) simd::store(y + n + i * W, sum[i]);
  }
  // Y[.., n .. n + 64] of all rows.
  static void many_rows(context& ctx, const weight& w, const rows& in, mat_view<T> Y, index_t n) noexcept {
    constexpr index_t R = W >= 16 ? 6 : 3;  // 2 x 2 R sums and 2 packs of weights in registers
    context::frame scratch(ctx);
    const auto panel = scratch.mat<T>(w.cols(), strip);
    for (index_t row = 0; row < interleaved_rows; row += strip) {
      decode(w, n, row, panel);
      index_t r = 0;
      for (; r + R <= Y.rows(); r += R) tile<R>(panel, w, in, Y, r, n, row);
      for (; r < Y.rows(); ++r) tile<1>(panel, w, in, Y, r, n, row);
    }
  }

 private:
  static constexpr index_t packs = 2, strip = packs * W;  // rows of weights in a tile

  // Rows [row, row + strip) of a block as numbers still to be scaled, columns in the order of their products.
  static void decode(const weight& w, index_t n, index_t row, mat_view<T> panel) noexcept {
    const index_t K = w.cols(), groups = K / decode_group;
    const std::byte* p = interleaved_block(w, n);
    for (index_t g = 0; g < groups; ++g, p += group_bytes)
      for (index_t j = 0; j < decode_group / 2; ++j)
        for (index_t i = 0; i < strip; i += W) {
          P a, b;
          group::columns(p, j, row + i, a, b);
          simd::store(panel[g * decode_group + 2 * j].data() + i, a);
          simd::store(panel[g * decode_group + 2 * j + 1].data() + i, b);
        }
    if constexpr (!group::scaled)
      for (index_t j = 0; j < K % decode_group; ++j)
        for (index_t i = 0; i < strip; i += W)
          simd::store(panel[groups * decode_group + j].data() + i, group::template column<P>(p, j, row + i));
  }
  // Y[r .. r + R, n + row .. n + row + strip].
  template <index_t R>
  [[gnu::flatten]] static void tile(mat_view<const T> panel, const weight& weights, const rows& in,
                                    mat_view<T> Y, index_t r, index_t n, index_t row) noexcept {
    const index_t K = panel.rows(), groups = K / decode_group;
    P sum[R][packs];
    unrolled<R>([&](index_t i) { unrolled<packs>([&](index_t v) { sum[i][v] = P(T(0)); }); });
    const T *x[R], *w = panel[0].data();
    for (index_t i = 0; i < R; ++i) x[i] = in.X[r + i].data();
    const auto add = [&](auto& to, index_t k) {  // the next column of the panel, which is column k of X
      P column[packs];
      unrolled<packs>([&](index_t v) { column[v] = simd::load<P>(w + v * W); });
      w += strip;
      unrolled<R>([&](index_t i) {
        const P input(x[i][k]);
        unrolled<packs>([&](index_t v) { to[i][v] = simd::fma(column[v], input, to[i][v]); });
      });
    };
    const std::byte* p = interleaved_block(weights, n);
    for (index_t g = 0; g < groups; ++g, p += group_bytes) {
      P part[R][packs];
      unrolled<R>([&](index_t i) {
        unrolled<packs>([&](index_t v) { part[i][v] = group::scaled ? P(T(0)) : sum[i][v]; });
      });
      for (index_t j = 0; j < decode_group / 2; ++j) {
        add(part, g * decode_group + group::first(j));
        add(part, g * decode_group + group::second(j));
      }
      unrolled<packs>([&](index_t v) {
        unrolled<R>([&](index_t i) {
          sum[i][v] = group::added(p, row + v * W, part[i][v], sum[i][v], in.sum(r + i, g));
        });
      });
    }
    for (index_t k = groups * decode_group; k < K; ++k) add(sum, k);
    unrolled<R>([&](index_t i) {
      unrolled<packs>([&](index_t v) { simd::store(Y[r + i].data() + n + row + v * W, sum[i][v]); });
    });
  }
};

}  // namespace mneme::inline MNEME_ABI::detail
