// SPDX-License-Identifier: Apache-2.0
// recurrence on packs.
#pragma once
#include "../../math/prefetch.hpp"
#include "../../math/simd_bfloat16.hpp"
#include "../../math/vector.hpp"
#include "../../op/recurrence.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Columns of S never meet, so that S is worked on in panels of a few packs of columns, all tokens of a call
// on one panel before the next; what a panel reads out and writes stays in registers while its rows go by.
//   add           one pass: each element of S is read and written once per token, or per two tokens
//   delta, dplr   a first pass recalls, a second writes; it walks the rows backwards, so that it begins with
//                 what the first has left in the nearest cache, and ends where the next token begins
// A call with few tokens is bound by the stream of S: wide panels, long contiguous pieces; where there are
// two passes, the second asks for the next panel, which the first would have to wait for. With many tokens a
// panel is worked on in a copy that fits the nearest cache (in place, rows that lie a power of two apart
// would share a few cache sets), and the operands of the tokens to come are asked for. No sum depends on the
// width of its panel or on the number of tokens: same bits, step by step or all at once.
// A state of bfloat16 is widened as it is loaded and rounded as it is stored. Conversions take the places of
// multiply-adds, so that this pays where the stream of S binds: decode takes 0.4 to 0.6 of the time of a
// state of float from memory, 0.4 to 0.8 from the third-level cache, 0.95 to 1.15 where both are in the
// second; prefill 1.1 to 1.25. That is with AVX512-BF16; where integer instructions round, decode takes 0.55
// to 1.1 from memory and 1.6 to 2.8 in the second.
template <rule R, class Arch>
struct kernel<recurrence<R>, cpu<Arch>> {
  // S [K, V]; O [outputs, V] receives the outputs of the last tokens.
  template <class T, class Stored = T>
  static void run(context& ctx, mat_view<Stored> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    if (in.k.rows() < worth_a_copy)
      panels<std::min<int>(8, recalls ? 4 * sizeof(T) / sizeof(Stored) : 8)>(ctx, S, in, 0, O);
    else if (S.rows() * row_bytes<T, Stored>(4) <= cache_bytes)
      panels<4>(ctx, S, in, 0, O);
    else
      panels<2>(ctx, S, in, 0, O);
  }

 private:
  static constexpr bool recalls = R.write != update::add;
  static constexpr index_t worth_a_copy = 4;         // tokens
  static constexpr index_t cache_bytes = 40 * 1024;  // of S, in the nearest cache
  static constexpr index_t next_bytes = 16 * 1024;   // of the next panel, there too; the rest, behind it
  static constexpr index_t ahead = 2;                // tokens whose operands are asked for
  template <class T, class Stored>
  static constexpr index_t row_bytes(index_t packs) {
    return packs * simd::width<simd::pack<T, Arch>> * index_t{sizeof(Stored)};
  }

  // Columns from j on: panels of N packs, the rest in narrower ones, the last columns one by one.
  template <int N, class T, class Stored>
  static void panels(context& ctx, mat_view<Stored> S, const recurrence_rows<T>& in, index_t j,
                     mat_view<T> O) noexcept {
    using P = std::conditional_t<N == 0, T, simd::pack<T, Arch>>;
    constexpr index_t packs = std::max(N, 1), width = packs * simd::width<P>;
    for (; j + width <= S.cols(); j += width) panel<P, packs>(ctx, S.columns(j, width), in, j, O);
    if constexpr (N > 0) panels<N / 2>(ctx, S, in, j, O);
  }
  // Columns [j, j + N width<P>) of the head.
  template <class P, int N, class T, class Stored>
  static void panel(context& ctx, mat_view<Stored> S, const recurrence_rows<T>& in, index_t j,
                    mat_view<T> O) noexcept {
    // Two where a token leaves nothing but S, unrounded, and registers hold what both read out and write.
    constexpr bool fits = 4 * N < (simd::width<P> * index_t{sizeof(T)} == 64 ? 32 : 16);
    constexpr bool alone = recalls || R.forget == decay::value || !std::is_same_v<T, Stored>;
    constexpr int together = alone || !fits ? 1 : 2;
    const index_t tokens = in.k.rows(), unread = tokens - O.rows();
    const bool few = tokens < worth_a_copy, copied = !few && S.stride() > S.cols();
    context::frame scratch(ctx);
    const mat_view<Stored> s = copied ? scratch.template mat<Stored>(S.rows(), S.cols()) : S;
    if (copied) copy_rows(mat_view<const Stored>(S), s);
    index_t t = 0;
    for (; t < unread; ++t) {
      ask_for_operands(in, t + ahead, j, S.cols(), O);
      token<P, N, 1, false>(s, in, t, j, O, few);
    }
    for (; t + together <= tokens; t += together) {
      for (index_t u = t + ahead; u < t + ahead + together; ++u) ask_for_operands(in, u, j, S.cols(), O);
      token<P, N, together, true>(s, in, t, j, O, few);
    }
    for (; t < tokens; ++t) token<P, N, 1, true>(s, in, t, j, O, few);
    if (copied) copy_rows(mat_view<const Stored>(s), S);
  }
  template <class Stored>
  static void copy_rows(mat_view<const Stored> from, mat_view<Stored> to) noexcept {
    for (index_t i = 0; i < from.rows(); ++i) std::copy_n(from[i].data(), from.cols(), to[i].data());
  }

  // Rows of two tokens lie pages apart, where no hardware prefetcher follows; into the second cache, since a
  // power of two apart they would drive each other out of the nearest.
  template <class T>
  [[gnu::always_inline]] static void ask_for_operands(const recurrence_rows<T>& in, index_t t, index_t j,
                                                      index_t columns, mat_view<T> O) noexcept {
    if (t >= in.k.rows()) return;
    ask_for<2>(in.k[t].data(), in.k.cols());
    ask_for<2>(in.v[t].data() + j, columns);
    if (const index_t row = t - (in.k.rows() - O.rows()); row >= 0) {
      ask_for<2>(in.q[row].data(), in.q.cols());
      ask_for<2>(O[row].data() + j, columns);
    }
    if constexpr (R.forget == decay::key) ask_for<2>(in.alpha[t].data(), in.k.cols());
    if constexpr (R.forget == decay::value) ask_for<2>(in.alpha[t].data() + j, columns);
    if constexpr (R.write == update::dplr) {
      ask_for<2>(in.a[t].data(), in.k.cols());
      ask_for<2>(in.b[t].data(), in.k.cols());
    }
  }

  // Tokens t .. t + C - 1 in one pass: each element goes through the same operations as token by token. C = 1
  // for rules that recall. With next_too, the next panel is asked for.
  template <class P, int N, int C, bool Read, class T, class Stored>
  [[gnu::flatten]] static void token(mat_view<Stored> S, const recurrence_rows<T>& in, index_t t, index_t j,
                                     mat_view<T> O, bool next_too) noexcept {
    constexpr index_t W = simd::width<P>, G = N % 2 == 0 ? 2 : 1;  // packs that are loaded at once
    constexpr bool before = Read && R.read == reads::before, after = Read && R.read == reads::after;
    const index_t K = S.rows(), stride = S.stride(), output = t - (in.k.rows() - O.rows());
    Stored* const s = S.data();
    const T *k[C], *q[C], *alpha[C], *const a = in.a[t].data(), *const b = in.b[t].data();
    P recalled[N], y[C * N], written[C * N], fade[C * N];
    unrolled<C>([&](index_t c) {
      k[c] = in.k[t + c].data(), alpha[c] = in.alpha[t + c].data();
      q[c] = Read ? in.q[output + c].data() : nullptr;
      unrolled<N>([&](index_t n) {
        y[c * N + n] = P(T(0));
        written[c * N + n] = simd::load<P>(in.v[t + c].data() + j + n * W);
        if constexpr (R.forget == decay::scalar) fade[c * N + n] = P(*alpha[c]);
        if constexpr (R.forget == decay::value) fade[c * N + n] = simd::load<P>(alpha[c] + j + n * W);
      });
    });

    if constexpr (recalls) {
      static_assert(C == 1);
      P odd[N], odd_y[N];  // every other row has its own sums: hides their latency
      unrolled<N>([&](index_t n) { recalled[n] = odd[n] = odd_y[n] = P(T(0)); });
      const auto row = [&](index_t i, P* sum, P* read) {
        P weight;
        if constexpr (R.write == update::dplr)
          weight = P(a[i]);
        else
          weight = P(R.forget == decay::key ? alpha[0][i] * k[0][i] : k[0][i]);
        const P query(before ? q[0][i] : T(0));
        unrolled<N / G>([&](index_t g) {
          P x[G];
          simd::load<G>(s + i * stride + g * G * W, x);
          unrolled<G>([&](index_t m) {
            const index_t n = g * G + m;
            sum[n] = simd::fma(weight, x[m], sum[n]);
            if constexpr (before) read[n] = simd::fma(query, x[m], read[n]);
          });
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

    // To the right, or, from the last columns, in the head that follows in memory.
    const Stored* const next = j + N * W < in.v.cols() ? s + N * W : s - j + K * stride;
    const index_t rows_of_next =
        recalls && next_too ? std::min(K, next_bytes / (N * W * index_t{sizeof(Stored)})) : 0;
    for (index_t r = 0; r < K; ++r) {
      const index_t i = recalls ? K - 1 - r : r;
      Stored* const row = s + i * stride;
      if constexpr (recalls) {
        if (r < rows_of_next)
          ask_for<1>(next + r * stride, N * W);
        else if (next_too)
          ask_for<2>(next + r * stride, N * W);
      }
      P key[C], query[C], kept[C];
      unrolled<C>([&](index_t c) {
        key[c] = P(k[c][i]);
        query[c] = P(Read ? q[c][i] : T(0));
        kept[c] = P(R.forget == decay::key ? alpha[c][i] : T(0));
      });
      const P back(R.write == update::dplr ? b[i] : T(0));
      unrolled<N / G>([&](index_t g) {
        P x[G];
        simd::load<G>(row + g * G * W, x);
        unrolled<C * G>([&](index_t cm) {
          const index_t c = cm / G, m = cm % G, n = g * G + m, at = c * N + n;
          if constexpr (before && !recalls) y[at] = simd::fma(query[c], x[m], y[at]);
          if constexpr (R.forget == decay::key)
            x[m] = x[m] * kept[c];
          else if constexpr (R.forget != decay::none)
            x[m] = x[m] * fade[at];
          x[m] = simd::fma(key[c], written[at], x[m]);
          if constexpr (R.write == update::dplr) x[m] = simd::fma(back, recalled[n], x[m]);
          if constexpr (after) y[at] = simd::fma(query[c], x[m], y[at]);
        });
        simd::store<G>(row + g * G * W, x);
      });
    }
    if constexpr (Read)
      unrolled<C * N>([&](index_t n) { simd::store(O[output + n / N].data() + j + n % N * W, y[n]); });
  }
};

}  // namespace mneme::inline MNEME_ABI
