// SPDX-License-Identifier: Apache-2.0
// recurrence on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/recurrence.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Columns of S never meet, so that S is worked on in panels of a few packs of columns, all tokens of a call
// on one panel before the next; what a panel reads out and writes stays in registers while its rows go by.
//   add           one pass: each element of S is read and written once per token
//   delta, dplr   a first pass recalls, a second writes; it walks the rows backwards, so that it begins with
//                 what the first has left in the nearest cache, and ends where the next token begins
// A call with few tokens is bound by the stream of S: wide panels, long contiguous pieces. With many, a panel
// is worked on in a copy that fits the nearest cache (in place, rows that lie a power of two apart would
// share a few cache sets). No sum depends on the width of its panel or on the number of tokens: same bits,
// step by step or all at once.
template <rule R, class Arch>
struct kernel<recurrence<R>, cpu<Arch>> {
  // S [K, V]; O [outputs, V] receives the outputs of the last tokens.
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    if (in.k.rows() < worth_a_copy)
      panels<8, T>(ctx, S, in, 0, O);
    else if (S.rows() * row_bytes<T>(4) <= cache_bytes)
      panels<4, T>(ctx, S, in, 0, O);
    else
      panels<2, T>(ctx, S, in, 0, O);
  }

 private:
  static constexpr index_t worth_a_copy = 4;         // tokens
  static constexpr index_t cache_bytes = 40 * 1024;  // of S, in the nearest cache
  template <class T>
  static constexpr index_t row_bytes(index_t packs) {
    return packs * simd::width<simd::pack<T, Arch>> * index_t{sizeof(T)};
  }

  // Columns from j on: panels of N packs, the rest in narrower ones, the last columns one by one.
  template <int N, class T>
  static void panels(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, index_t j,
                     mat_view<T> O) noexcept {
    using P = std::conditional_t<N == 0, T, simd::pack<T, Arch>>;
    constexpr index_t packs = std::max(N, 1), width = packs * simd::width<P>;
    for (; j + width <= S.cols(); j += width) panel<P, packs>(ctx, S.columns(j, width), in, j, O);
    if constexpr (N > 0) panels<N / 2, T>(ctx, S, in, j, O);
  }
  // Columns [j, j + N width<P>) of the head.
  template <class P, int N, class T>
  static void panel(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, index_t j,
                    mat_view<T> O) noexcept {
    const index_t tokens = in.k.rows(), unread = tokens - O.rows();
    context::frame scratch(ctx);
    const bool copied = tokens >= worth_a_copy && S.stride() > S.cols();
    const mat_view<T> s = copied ? scratch.template mat<T>(S.rows(), S.cols()) : S;
    if (copied) copy_rows(mat_view<const T>(S), s);
    for (index_t t = 0; t < unread; ++t) token<P, N, false, T>(s, in, t, j, nullptr, nullptr);
    for (index_t t = unread; t < tokens; ++t)
      token<P, N, true, T>(s, in, t, j, in.q[t - unread].data(), O[t - unread].data() + j);
    if (copied) copy_rows(mat_view<const T>(s), S);
  }
  template <class T>
  static void copy_rows(mat_view<const T> from, mat_view<T> to) noexcept {
    for (index_t i = 0; i < from.rows(); ++i) std::copy_n(from[i].data(), from.cols(), to[i].data());
  }

  template <class P, int N, bool Read, class T>
  static void token(mat_view<T> S, const recurrence_rows<T>& in, index_t t, index_t j, const T* q,
                    T* o) noexcept {
    constexpr index_t W = simd::width<P>;
    constexpr bool recalls = R.write != update::add;
    constexpr bool before = Read && R.read == reads::before, after = Read && R.read == reads::after;
    const index_t K = S.rows(), stride = S.stride();
    T* const s = S.data();
    const T *k = in.k[t].data(), *alpha = in.alpha[t].data(), *a = in.a[t].data(), *b = in.b[t].data();
    P recalled[N], y[N], written[N], fade[N];
    unrolled<N>([&](index_t n) {
      y[n] = P(T(0));
      written[n] = simd::load<P>(in.v[t].data() + j + n * W);
      if constexpr (R.forget == decay::scalar) fade[n] = P(*alpha);
      if constexpr (R.forget == decay::value) fade[n] = simd::load<P>(alpha + j + n * W);
    });

    if constexpr (recalls) {
      P odd[N], odd_y[N];  // every other row has its own sums: hides their latency
      unrolled<N>([&](index_t n) { recalled[n] = odd[n] = odd_y[n] = P(T(0)); });
      const auto row = [&](index_t i, P* sum, P* read) {
        P weight;
        if constexpr (R.write == update::dplr)
          weight = P(a[i]);
        else
          weight = P(R.forget == decay::key ? alpha[i] * k[i] : k[i]);
        unrolled<N>([&](index_t n) {
          const P x = simd::load<P>(s + i * stride + n * W);
          sum[n] = simd::fma(weight, x, sum[n]);
          if constexpr (before) read[n] = simd::fma(P(q[i]), x, read[n]);
        });
      };
      index_t i = 0;
      for (; i + 2 <= K; i += 2) {
        row(i, recalled, y);
        row(i + 1, odd, odd_y);
      }
      if (i < K) row(i, recalled, y);
      unrolled<N>([&](index_t n) {
        recalled[n] = recalled[n] + odd[n];
        if constexpr (before) y[n] = y[n] + odd_y[n];
        if constexpr (R.write == update::delta) {
          if constexpr (R.forget == decay::scalar || R.forget == decay::value)
            recalled[n] = recalled[n] * fade[n];
          written[n] = P(in.beta[t][0]) * (written[n] - recalled[n]);
        }
      });
    }

    for (index_t r = 0; r < K; ++r) {
      const index_t i = recalls ? K - 1 - r : r;
      unrolled<N>([&](index_t n) {
        T* const at = s + i * stride + n * W;
        P x = simd::load<P>(at);
        if constexpr (before && !recalls) y[n] = simd::fma(P(q[i]), x, y[n]);
        if constexpr (R.forget == decay::key)
          x = x * P(alpha[i]);
        else if constexpr (R.forget != decay::none)
          x = x * fade[n];
        x = simd::fma(P(k[i]), written[n], x);
        if constexpr (R.write == update::dplr) x = simd::fma(P(b[i]), recalled[n], x);
        simd::store(at, x);
        if constexpr (after) y[n] = simd::fma(P(q[i]), x, y[n]);
      });
    }
    if constexpr (Read) unrolled<N>([&](index_t n) { simd::store(o + n * W, y[n]); });
  }
};

}  // namespace mneme::inline MNEME_ABI
