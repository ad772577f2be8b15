// SPDX-License-Identifier: Apache-2.0
// The loops of attention over a block of entries: scores, their exponentials, sums of values.
#pragma once
#include "../../math/decode.hpp"
#include "../../math/vector.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::detail {

// How the loops over channels read a row: of T, pack by pack; stored as D, decoded on the way, block types in
// whole groups. A channel has the same value either way, and enters a sum in the same order.
template <class T>
struct plain_rows {
  template <class V>
  static constexpr index_t step = simd::width<V>;
  template <class V>
  static void load(const void* row, index_t c, V* out) {
    *out = simd::load<V>(static_cast<const T*>(row) + c);
  }
};
template <dtype D>
struct coded_rows {
  static constexpr bool halves = D == dtype::f16 || D == dtype::bf16;
  template <class V>
  static constexpr index_t step = halves ? simd::width<V> : decode_group;
  template <class V>
  static void load(const void* row, index_t c, V* out) {
    const auto* p = static_cast<const std::byte*>(row);
    if constexpr (D == dtype::f16)
      *out = simd::load_f16<V>(p + 2 * c);
    else if constexpr (D == dtype::bf16)
      *out = simd::load_bf16<V>(p + 2 * c);
    else
      row_decoder<D>::group(p + c / decode_group * row_decoder<D>::group_bytes, out);
  }
};

// Asks memory for a row. Inlined by force, and into no lambda: gcc drops calls of functions that only
// prefetch.
[[gnu::always_inline]] inline void ask_for(const void* row, index_t bytes) noexcept {
  for (index_t b = 0; b < bytes; b += 64) __builtin_prefetch(static_cast<const std::byte*>(row) + b, 0, 2);
}
// Rows that come next. Those of one list may lie a page apart, where no hardware prefetcher follows; asked
// for between the products of others, they arrive meanwhile.
struct rows_ahead {
  const void* const* row = nullptr;
  index_t rows = 0, bytes = 0;

  [[gnu::always_inline]] void ask(index_t i) const noexcept {
    if (i < rows) ask_for(row[i], bytes);
  }
};

// Sums of a query are formed in an order that depends on the entries alone, whatever N it is computed with.
template <class Arch>
struct attention_tile {
  static constexpr index_t block = 64;  // entries
  template <class T>
  using pack = simd::pack<T, Arch>;

  // Products of a tile, N queries by sums / N keys: they live in registers, and go across lanes in whole
  // packs.
  template <class T>
  static constexpr int sums = simd::width<pack<T>> >= 16 ? 16 : 8;

  // f.template operator()<N>(g) with N = 4, then 2 and 1 for the rest.
  template <class F>
  static void in_fours(index_t G, F&& f) {
    index_t g = 0;
    for (; g + 4 <= G; g += 4) f.template operator()<4>(g);
    if (g + 2 <= G) f.template operator()<2>(g), g += 2;
    if (g < G) f.template operator()<1>(g);
  }

  // scores[g .. g + N][i] = scale q_g . k_i for i < n; written and read in whole tiles, behind n as well.
  template <int N, class Rows, class T>
  [[gnu::flatten]] static void score(mat_view<const T> Q, index_t g, const void* const* keys, index_t n,
                                     index_t d, T scale, mat_view<T> scores,
                                     const rows_ahead& next) noexcept {
    constexpr int K = sums<T> / N;
    const T* q[N];  // found once: between two tiles nothing else is worked out
    for (int j = 0; j < N; ++j) q[j] = Q[g + j].data();
    for (index_t i = 0; i < n; i += K) {
      for (index_t k = 0; k < K; ++k) next.ask(i + k);
      products<N, K, Rows>(q, keys + i, d, scale, scores, g, i);
    }
  }
  // Scores to e^(s - m) under the new maximum m; what was summed before is scaled down to it.
  template <class T>
  static void soften(row_view<T> s, row_view<T> o, T& highest, T& total) noexcept {
    const T m = max_of<Arch>(s.size(), s.data(), highest);
    T keep = 1;
    if (m != highest) {
      keep = exp(highest - m);
      highest = m;
      map_row<Arch>(o.size(), o.data(), o.data(), [keep]<class V>(V x) { return x * V(keep); });
    }
    total = simd::fma(total, keep, fold<Arch, T>(s.size(), [&]<class V>(index_t i, V sum) {
                        const V e = exp(simd::load<V>(s.data() + i) - V(m));
                        simd::store(s.data() + i, e);
                        return sum + e;
                      }));
  }
  // O[g .. g + N] += sum_i weights[.][i] v_i, a few packs of channels at a time in registers.
  template <int N, class Rows, class T>
  static void collect(mat_view<const T> weights, index_t g, const void* const* values, index_t n,
                      mat_view<T> O, rows_ahead& next) noexcept {
    using V = pack<T>;
    constexpr index_t width = simd::width<V>, step = Rows::template step<V>, packs = step / width;
    const index_t d = O.cols();
    index_t c = 0;
    for (; c + 4 * width <= d; c += 4 * width, next.rows = 0)
      columns<N, 4, V, Rows, T>(weights, g, values, n, O, c, next);
    for (; c + step <= d; c += step, next.rows = 0)
      columns<N, packs, V, Rows, T>(weights, g, values, n, O, c, next);
    if constexpr (std::is_same_v<Rows, plain_rows<T>>)
      for (; c < d; ++c, next.rows = 0) columns<N, 1, T, Rows, T>(weights, g, values, n, O, c, next);
  }

 private:
  template <int N, int K, class Rows, class T>
  static void products(const T* const* Q, const void* const* keys, index_t d, T scale, mat_view<T> scores,
                       index_t g, index_t i) noexcept {
    using V = pack<T>;
    constexpr index_t width = simd::width<V>, step = Rows::template step<V>, packs = step / width;
    const index_t whole = d / step * step;
    V sum[N * K];
    unrolled<N * K>([&](index_t j) { sum[j] = V(T(0)); });
    // What there is less of stays in registers, beside the sums.
    const auto query = [&](index_t j, index_t c) { return simd::held(simd::load<V>(Q[j] + c)); };
    const auto key = [&](index_t k, index_t c, V* out) {
      Rows::load(keys[k], c, out);
      unrolled<packs>([&](index_t w) { out[w] = simd::held(out[w]); });
    };
    for (index_t c = 0; c < whole; c += step) {
      if constexpr (N >= K) {
        V all[K * packs];
        unrolled<K>([&](index_t k) { key(k, c, all + k * packs); });
        unrolled<packs * N>([&](index_t n) {
          const index_t j = n % N, w = n / N;
          const V q = query(j, c + w * width);
          unrolled<K>([&](index_t k) { sum[j * K + k] = simd::fma(q, all[k * packs + w], sum[j * K + k]); });
        });
      } else {
        V q[N * packs];
        unrolled<N * packs>([&](index_t n) { q[n] = query(n % N, c + n / N * width); });
        unrolled<K>([&](index_t k) {
          V one[packs];
          key(k, c, one);
          unrolled<packs * N>([&](index_t n) {
            const index_t to = n % N * K + k;
            sum[to] = simd::fma(q[n], one[n / N], sum[to]);
          });
        });
      }
    }
    T s[N * K];
    unrolled<N * K / width>([&](index_t r) {
      const V total = simd::sums(sum + r * width);
      simd::store(s + r * width, whole == d ? total * V(scale) : total);
    });
    if constexpr (std::is_same_v<Rows, plain_rows<T>>)
      if (whole < d)
        for (index_t j = 0; j < N * K; ++j) {
          const T *q = Q[j / K], *k = static_cast<const T*>(keys[j % K]);
          for (index_t c = whole; c < d; ++c) s[j] = simd::fma(q[c], k[c], s[j]);
          s[j] *= scale;
        }
    unrolled<N>([&](index_t j) { std::copy_n(s + j * K, K, scores[g + j].data() + i); });
  }
  template <int N, int W, class V, class Rows, class T>
  [[gnu::flatten]] static void columns(mat_view<const T> weights, index_t g, const void* const* values,
                                       index_t n, mat_view<T> O, index_t c, const rows_ahead& next) noexcept {
    constexpr index_t step = Rows::template step<V>, packs = step / simd::width<V>;
    V sum[N][W];
    const auto at = [&](index_t j, index_t w) { return O[g + j].data() + c + w * simd::width<V>; };
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { sum[j][w] = simd::load<V>(at(j, w)); }); });
    for (index_t i = 0; i < n; ++i) {
      next.ask(i);
      V v[W];
      unrolled<W / packs>([&](index_t w) { Rows::load(values[i], c + w * step, v + w * packs); });
      unrolled<N>([&](index_t j) {
        const V p(weights[g + j][i]);
        unrolled<W>([&](index_t w) { sum[j][w] = simd::fma(p, v[w], sum[j][w]); });
      });
    }
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { simd::store(at(j, w), sum[j][w]); }); });
  }
};

}  // namespace mneme::inline MNEME_ABI::detail
