// SPDX-License-Identifier: Apache-2.0
// attention on packs: one pass over the entries in blocks, running maximum and sum.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/attention.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Entries are taken in blocks of `block`; each row is decoded once for all query heads of the group. Scratch
// does not grow with the number of entries, so that a step of an unbounded cache allocates nothing. Block
// limits depend on the slot alone: a query's sums are formed in the same order whatever else is asked.
template <class Arch>
struct kernel<attention, cpu<Arch>> {
  static constexpr index_t block = 64;

  template <class T, KvEntries E>
  static void run(context& ctx, const E& kv, double scale, mat_view<const T> Q, mat_view<T> O, mat_view<T> P,
                  const distance_bias& bias = {}) noexcept {
    attend_lists<cpu<Arch>, T>(ctx, 1, [&](index_t) -> const E& { return kv; }, scale, Q, O, P, bias);
  }
  template <class T, KvEntries E>
  static void part(context& ctx, const E& kv, index_t from, index_t to, double scale, mat_view<const T> Q,
                   const distance_bias& bias, const partial<T>& p, mat_view<T> S) noexcept {
    context::frame scratch(ctx);
    const index_t G = Q.rows();
    const auto decoded = scratch.mat<T>(E::template in_place<T> ? 0 : block, kv.width());
    const auto scores = scratch.mat<T>(G, block);
    const auto room = [&](index_t i) { return E::template in_place<T> ? nullptr : decoded[i].data(); };
    clear(p);
    for (; from < to; from += block) {
      const index_t n = std::min(block, to - from);
      const T* keys[block];
      for (index_t i = 0; i < n; ++i) {
        if constexpr (asks_ahead<E>) kv.prefetch_value(from + i);
        keys[i] = kv.template key_row<Arch>(from + i, room(i));
      }
      in_fours(
          G, [&]<int N>(index_t g) { score<N, T>(Q, g, keys, n, kv.d_key, static_cast<T>(scale), scores); });
      if (bias.slopes.size() > 0)
        for (index_t g = 0; g < G; ++g)
          for (index_t i = 0; i < n; ++i) scores[g][i] += static_cast<T>(bias(g, from + i));
      if (S.rows() > 0)
        for (index_t g = 0; g < G; ++g) std::copy_n(scores[g].data(), n, S[g].data() + from);
      for (index_t g = 0; g < G; ++g) soften(scores[g].sub(0, n), p.sum[g], p.highest[g], p.total[g]);
      const T* values[block];
      for (index_t i = 0; i < n; ++i) {
        if constexpr (asks_ahead<E>)
          if (from + block + i < to) kv.prefetch_key(from + block + i);
        values[i] = kv.template value_row<Arch>(from + i, room(i));
      }
      in_fours(G, [&]<int N>(index_t g) { collect<N, T>(scores, g, values, n, p.sum); });
    }
  }
  template <class T>
  static void finish(const partial<T>& p, mat_view<T> P) noexcept {
    for (index_t g = 0; g < p.sum.rows(); ++g) {
      if (p.total[g] == 0) continue;
      const T inverse = T(1) / p.total[g], m = p.highest[g];
      T* const o = p.sum[g].data();
      map_row<Arch>(p.sum.cols(), o, o, [=]<class V>(V x) { return x * V(inverse); });
      if (P.rows() > 0)
        map_row<Arch>(P.cols(), P[g].data(), P[g].data(),
                      [=]<class V>(V s) { return exp(s - V(m)) * V(inverse); });
    }
  }

 private:
  template <class T>
  using pack = simd::pack<T, Arch>;
  template <class E>
  static constexpr bool asks_ahead = requires(const E& kv) { kv.prefetch_key(0), kv.prefetch_value(0); };

  // f.template operator()<N>(g) with N = 4, then 3, 2 or 1 for the rest.
  template <class F>
  static void in_fours(index_t G, F&& f) {
    index_t g = 0;
    for (; g + 4 <= G; g += 4) f.template operator()<4>(g);
    if (G - g == 3) f.template operator()<3>(g);
    if (G - g == 2) f.template operator()<2>(g);
    if (G - g == 1) f.template operator()<1>(g);
  }
  // scores[g .. g + N][i] = scale q_g . k_i
  template <int N, class T>
  static void score(mat_view<const T> Q, index_t g, const T* const* keys, index_t n, index_t d, T scale,
                    mat_view<T> scores) noexcept {
    index_t i = 0;
    for (; i + 4 <= n; i += 4) products<N, 4>(Q, g, keys + i, d, scale, scores, i);
    for (; i < n; ++i) products<N, 1>(Q, g, keys + i, d, scale, scores, i);
  }
  template <int N, int Keys, class T>
  [[gnu::flatten]] static void products(mat_view<const T> Q, index_t g, const T* const* keys, index_t d,
                                        T scale, mat_view<T> scores, index_t i) noexcept {
    using V = pack<T>;
    constexpr index_t width = simd::width<V>;
    const index_t whole = d / width * width;
    V sum[N][Keys];
    unrolled<N>([&](index_t j) { unrolled<Keys>([&](index_t k) { sum[j][k] = V(T(0)); }); });
    for (index_t c = 0; c < whole; c += width) {
      V key[Keys];
      unrolled<Keys>([&](index_t k) { key[k] = simd::load<V>(keys[k] + c); });
      unrolled<N>([&](index_t j) {
        const V q = simd::load<V>(Q[g + j].data() + c);
        unrolled<Keys>([&](index_t k) { sum[j][k] = simd::fma(q, key[k], sum[j][k]); });
      });
    }
    unrolled<N>([&](index_t j) {
      T s[Keys];
      if constexpr (Keys == 4)
        simd::sums_of_four(sum[j], s);
      else
        s[0] = simd::sum(sum[j][0]);
      for (index_t k = 0; k < Keys; ++k) {
        for (index_t c = whole; c < d; ++c) s[k] = simd::fma(Q[g + j][c], keys[k][c], s[k]);
        scores[g + j][i + k] = s[k] * scale;
      }
    });
  }
  // Scores to e^(s - m) under the new maximum m; what was summed before is scaled down to it.
  template <class T>
  static void soften(row_view<T> s, row_view<T> o, T& highest, T& total) noexcept {
    const T m = max_of<Arch>(s.size(), s.data(), highest);
    const T keep = exp(highest - m);
    highest = m;
    map_row<Arch>(s.size(), s.data(), s.data(), [m]<class V>(V x) { return exp(x - V(m)); });
    total = simd::fma(total, keep, sum_of<Arch>(s.size(), s.data()));
    if (keep != T(1))
      map_row<Arch>(o.size(), o.data(), o.data(), [keep]<class V>(V x) { return x * V(keep); });
  }
  // O[g .. g + N] += sum_i scores[.][i] v_i, a few packs of channels at a time in registers.
  template <int N, class T>
  static void collect(mat_view<const T> scores, index_t g, const T* const* values, index_t n,
                      mat_view<T> O) noexcept {
    constexpr index_t width = simd::width<pack<T>>;
    const index_t d = O.cols();
    index_t c = 0;
    for (; c + 4 * width <= d; c += 4 * width) columns<N, 4, pack<T>, T>(scores, g, values, n, O, c);
    for (; c + width <= d; c += width) columns<N, 1, pack<T>, T>(scores, g, values, n, O, c);
    for (; c < d; ++c) columns<N, 1, T, T>(scores, g, values, n, O, c);
  }
  template <int N, int W, class V, class T>
  [[gnu::flatten]] static void columns(mat_view<const T> scores, index_t g, const T* const* values, index_t n,
                                       mat_view<T> O, index_t c) noexcept {
    V sum[N][W];
    const auto at = [&](index_t j, index_t w) { return O[g + j].data() + c + w * simd::width<V>; };
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { sum[j][w] = simd::load<V>(at(j, w)); }); });
    for (index_t i = 0; i < n; ++i) {
      V v[W];
      unrolled<W>([&](index_t w) { v[w] = simd::load<V>(values[i] + c + w * simd::width<V>); });
      unrolled<N>([&](index_t j) {
        const V p(scores[g + j][i]);
        unrolled<W>([&](index_t w) { sum[j][w] = simd::fma(p, v[w], sum[j][w]); });
      });
    }
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { simd::store(at(j, w), sum[j][w]); }); });
  }
};

}  // namespace mneme::inline MNEME_ABI
