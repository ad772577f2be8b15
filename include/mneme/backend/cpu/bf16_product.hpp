// SPDX-License-Identifier: Apache-2.0
// Products of interleaved weights with rows rounded to bfloat16, summed in float32: precision::fast.
#pragma once
#include "../../core/context.hpp"
#include "../../math/interleave.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::detail {

template <dtype D>
class bf16_product;

// Whether Arch multiplies pairs of bfloat16 in one instruction, and the numbers of D are exact in bfloat16.
#if defined(__AVX512BF16__) && !defined(MNEME_NO_SIMD)
template <dtype D, class Arch>
inline constexpr bool has_bf16_product =
    simd::width<simd::pack<float, Arch>> == 16 &&
    (D == dtype::q4_0 || D == dtype::q4_1 || D == dtype::q8_0 || D == dtype::bf16);

// In the order of interleaved_product, two columns at a time; one row and many rows have the same bits. The
// only error beyond float32 is the rounding of the rows: 2^-8 of each input at most.
template <dtype D>
class bf16_product {
  using group = interleaved_group<D>;
  using P = simd::pack<float, xsimd::default_arch>;
  static constexpr index_t W = 16, packs = interleaved_rows / W;
  static constexpr index_t group_bytes = row_bytes(D, decode_group) * interleaved_rows;

 public:
  using pair = std::uint32_t;  // two columns of a row, the first in the low half

  // Rows in pairs, and the sums over their groups of 32 columns, if minima are to be multiplied with them.
  struct rows {
    mat_view<pair> pairs;  // [R, K / 2 rounded up]
    mat_view<float> sums;  // [R, K / 32] or no columns
    float sum(index_t r, index_t g) const { return group::has_minimum ? sums[r][g] : 0; }
  };
  static rows prepared(context::frame& scratch, mat_view<const float> X) noexcept {
    const index_t K = X.cols(), whole = K / decode_group * decode_group;
    const rows to{scratch.mat<pair>(X.rows(), (K + 1) / 2),
                  scratch.mat<float>(X.rows(), group::has_minimum ? K / decode_group : 0)};
    for (index_t r = 0; r < X.rows(); ++r) {
      const float* x = X[r].data();
      pair* p = to.pairs[r].data();
      for (index_t k = 0; k < whole; k += decode_group) {
        float sum = 0;
        for (index_t j = 0; j < decode_group / 2; ++j, ++p) {
          const auto a = to_bf16(x[k + group::first(j)]), b = to_bf16(x[k + group::second(j)]);
          *p = pair{a} | pair{b} << 16;
          sum += from_bf16(a) + from_bf16(b);
        }
        if constexpr (group::has_minimum) to.sums[r][k / decode_group] = sum;
      }
      for (index_t k = whole; k < K; k += 2)
        *p++ = pair{to_bf16(x[k])} | pair{to_bf16(k + 1 < K ? x[k + 1] : 0)} << 16;
    }
    return to;
  }
  // y[n .. n + 64] of one row.
  static void one_row(const weight& w, const rows& x, float* y, index_t n) noexcept {
    const index_t K = w.cols(), groups = K / decode_group;
    const std::byte* p = interleaved_block(w, n);
    const pair* in = x.pairs[0].data();
    __m512 sum[packs];
    unrolled<packs>([&](index_t i) { sum[i] = _mm512_setzero_ps(); });
    for (index_t g = 0; g < groups; ++g, p += group_bytes) {
      __m512 part[packs];
      unrolled<packs>([&](index_t i) { part[i] = group::scaled ? _mm512_setzero_ps() : sum[i]; });
      for (index_t j = 0; j < decode_group / 2; ++j, ++in) {
        group::prefetch(p + 2 * group_bytes, j);
        unrolled<packs>([&](index_t i) { part[i] = multiplied(columns(p, j, i * W), *in, part[i]); });
      }
      unrolled<packs>(
          [&](index_t i) { sum[i] = group::template added<P>(p, i * W, part[i], sum[i], x.sum(0, g)); });
    }
    for (index_t j = 0; j < K % decode_group; j += 2, ++in)
      unrolled<packs>(
          [&](index_t i) { sum[i] = multiplied(tail_columns(p, j, K % decode_group, i * W), *in, sum[i]); });
    unrolled<packs>([&](index_t i) { _mm512_storeu_ps(y + n + i * W, sum[i]); });
  }
  // Y[.., n .. n + 64] of all rows.
  static void many_rows(context& ctx, const weight& w, const rows& x, mat_view<float> Y, index_t n) noexcept {
    constexpr index_t R = 6;
    context::frame scratch(ctx);
    const auto panel = scratch.mat<pair>(x.pairs.cols(), strip);
    for (index_t row = 0; row < interleaved_rows; row += strip) {
      decode(w, n, row, panel);
      index_t r = 0;
      for (; r + R <= Y.rows(); r += R) tile<R>(panel, w, x, Y, r, n, row);
      for (; r < Y.rows(); ++r) tile<1>(panel, w, x, Y, r, n, row);
    }
  }

 private:
  static constexpr index_t strip = 2 * W;  // rows of weights in a tile

  static __m512 multiplied(__m512i weights, pair in, __m512 sum) noexcept {
    return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(static_cast<int>(in)));
  }
  // Pair j of a group as 16 rows of two bfloat16.
  static __m512i columns(const std::byte* p, index_t j, index_t row) noexcept {
    if constexpr (group::nibbles) {
      const auto* q = p + (group::head_bytes + j) * interleaved_rows + row;
      const __m512i codes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
      // The low half looks up bits 0 to 4 and the high half bits 4 to 7, so bit 4 must make no difference.
      return _mm512_permutexvar_epi16(_mm512_or_si512(codes, _mm512_slli_epi32(codes, 12)), numbers());
    } else {
      return both(p, group::first(j), group::second(j), row);
    }
  }
  static __m512i tail_columns(const std::byte* p, index_t j, index_t count, index_t row) noexcept {
    if (j + 1 < count) return both(p, j, j + 1, row);
    return _mm512_srli_epi32(upper(p, j, row), 16);
  }
  static __m512i both(const std::byte* p, index_t first, index_t second, index_t row) noexcept {
    return _mm512_or_si512(_mm512_srli_epi32(upper(p, first, row), 16), upper(p, second, row));
  }
  // A column of a type that does not pack two into a byte, as float32: its lower halves are 0.
  static __m512i upper(const std::byte* p, index_t j, index_t row) noexcept {
    return _mm512_castps_si512(group::template column<P>(p, j, row));
  }
  static __m512i numbers() noexcept {
    std::uint16_t table[32];
    for (int i = 0; i < 32; ++i) table[i] = to_bf16(static_cast<float>((i & 15) - group::zero));
    return _mm512_loadu_si512(table);
  }
  static void decode(const weight& w, index_t n, index_t row, mat_view<pair> panel) noexcept {
    const index_t K = w.cols(), groups = K / decode_group;
    const std::byte* p = interleaved_block(w, n);
    pair* out = panel[0].data();
    const auto put = [&](__m512i words) { _mm512_storeu_si512(out, words), out += W; };
    for (index_t g = 0; g < groups; ++g, p += group_bytes)
      for (index_t j = 0; j < decode_group / 2; ++j)
        for (index_t i = 0; i < strip; i += W) put(columns(p, j, row + i));
    for (index_t j = 0; j < K % decode_group; j += 2)
      for (index_t i = 0; i < strip; i += W) put(tail_columns(p, j, K % decode_group, row + i));
  }
  // Y[r .. r + R, n + row .. n + row + strip].
  template <index_t R>
  static void tile(mat_view<pair> panel, const weight& weights, const rows& x, mat_view<float> Y, index_t r,
                   index_t n, index_t row) noexcept {
    constexpr index_t V = strip / W;
    const index_t K = weights.cols(), groups = K / decode_group;
    const std::byte* p = interleaved_block(weights, n);
    const pair *w = panel[0].data(), *in[R];
    for (index_t i = 0; i < R; ++i) in[i] = x.pairs[r + i].data();
    __m512 sum[R][V];
    unrolled<R>([&](index_t i) { unrolled<V>([&](index_t v) { sum[i][v] = _mm512_setzero_ps(); }); });
    const auto add = [&](auto& to, index_t k) {
      __m512i words[V];
      unrolled<V>([&](index_t v) { words[v] = _mm512_loadu_si512(w + v * W); });
      w += strip;
      unrolled<R>([&](index_t i) {
        unrolled<V>([&](index_t v) { to[i][v] = multiplied(words[v], in[i][k], to[i][v]); });
      });
    };
    index_t k = 0;
    for (index_t g = 0; g < groups; ++g, p += group_bytes) {
      __m512 part[R][V];
      unrolled<R>([&](index_t i) {
        unrolled<V>([&](index_t v) { part[i][v] = group::scaled ? _mm512_setzero_ps() : sum[i][v]; });
      });
      for (index_t j = 0; j < decode_group / 2; ++j, ++k) add(part, k);
      unrolled<V>([&](index_t v) {
        unrolled<R>([&](index_t i) {
          sum[i][v] = group::template added<P>(p, row + v * W, part[i][v], sum[i][v], x.sum(r + i, g));
        });
      });
    }
    for (; k < x.pairs.cols(); ++k) add(sum, k);
    unrolled<R>([&](index_t i) {
      unrolled<V>([&](index_t v) { _mm512_storeu_ps(Y[r + i].data() + n + row + v * W, sum[i][v]); });
    });
  }
};
#else
template <dtype, class>
inline constexpr bool has_bf16_product = false;
#endif

}  // namespace mneme::inline MNEME_ABI::detail
