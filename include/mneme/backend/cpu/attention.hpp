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
      for (index_t i = 0; i < n; ++i) keys[i] = kv.template key_row<Arch>(from + i, room(i));
      in_fours(
          G, [&]<int N>(index_t g) { score<N, T>(Q, g, keys, n, kv.d_key, static_cast<T>(scale), scores); });
      if (bias.slopes.size() > 0)
        for (index_t g = 0; g < G; ++g)
          for (index_t i = 0; i < n; ++i) scores[g][i] += static_cast<T>(bias(g, from + i));
      if (S.rows() > 0)
        for (index_t g = 0; g < G; ++g) std::copy_n(scores[g].data(), n, S[g].data() + from);
      for (index_t g = 0; g < G; ++g) soften(scores[g].sub(0, n), p.sum[g], p.highest[g], p.total[g]);
      const T* values[block];
      for (index_t i = 0; i < n; ++i) values[i] = kv.template value_row<Arch>(from + i, room(i));
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
    using V = pack<T>;
    constexpr index_t width = simd::width<V>;
    const index_t whole = d / width * width;
    for (index_t i = 0; i < n; ++i) {
      V sum[N];
      for (auto& s : sum) s = V(T(0));
      for (index_t c = 0; c < whole; c += width) {
        const V k = simd::load<V>(keys[i] + c);
        for (int j = 0; j < N; ++j) sum[j] = simd::fma(simd::load<V>(Q[g + j].data() + c), k, sum[j]);
      }
      for (int j = 0; j < N; ++j) {
        T s = simd::sum(sum[j]);
        for (index_t c = whole; c < d; ++c) s = simd::fma(Q[g + j][c], keys[i][c], s);
        scores[g + j][i] = s * scale;
      }
    }
  }
  // Scores to e^(s - m) under the new maximum m; what was summed before is scaled down to it.
  template <class T>
  static void soften(row_view<T> s, row_view<T> o, T& highest, T& total) noexcept {
    T m = highest;
    for (T x : s) m = simd::max(m, x);
    const T keep = exp(highest - m);
    highest = m;
    map_row<Arch>(s.size(), s.data(), s.data(), [m]<class V>(V x) { return exp(x - V(m)); });
    T sum = 0;
    for (T x : s) sum += x;
    total = simd::fma(total, keep, sum);
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
  static void columns(mat_view<const T> scores, index_t g, const T* const* values, index_t n, mat_view<T> O,
                      index_t c) noexcept {
    V sum[N][W];
    for (int j = 0; j < N; ++j)
      for (int w = 0; w < W; ++w) sum[j][w] = simd::load<V>(O[g + j].data() + c + w * simd::width<V>);
    for (index_t i = 0; i < n; ++i) {
      V v[W];
      for (int w = 0; w < W; ++w) v[w] = simd::load<V>(values[i] + c + w * simd::width<V>);
      for (int j = 0; j < N; ++j) {
        const V p(scores[g + j][i]);
        for (int w = 0; w < W; ++w) sum[j][w] = simd::fma(p, v[w], sum[j][w]);
      }
    }
    for (int j = 0; j < N; ++j)
      for (int w = 0; w < W; ++w) simd::store(O[g + j].data() + c + w * simd::width<V>, sum[j][w]);
  }
};

}  // namespace mneme::inline MNEME_ABI
