// SPDX-License-Identifier: Apache-2.0
// The loops of attention over a block of entries: scores, their exponentials, sums of values.
#pragma once
#include "../../math/decode.hpp"
#include "../../math/vector.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::detail {

// How the loops over channels read rows: of T, pack by pack; stored as D, decoded on the way, block types in
// whole groups. A channel has the same value either way, and enters a sum in the same order.
template <class T>
struct plain_rows {
  const void* const* row;

  template <class V>
  static constexpr index_t step = simd::width<V>;
  template <class V>
  void load(index_t i, index_t c, V* out) const {
    *out = simd::load<V>(static_cast<const T*>(row[i]) + c);
  }
};
template <dtype D>
struct coded_rows {
  const void* const* row;

  static constexpr bool halves = D == dtype::f16 || D == dtype::bf16;
  template <class V>
  static constexpr index_t step = halves ? simd::width<V> : decode_group;
  template <class V>
  void load(index_t i, index_t c, V* out) const {
    const auto* p = static_cast<const std::byte*>(row[i]);
    if constexpr (D == dtype::f16)
      *out = simd::load_f16<V>(p + 2 * c);
    else if constexpr (D == dtype::bf16)
      *out = simd::load_bf16<V>(p + 2 * c);
    else
      row_decoder<D>::group(p + c / decode_group * row_decoder<D>::group_bytes, out);
  }
};

// Bytes that come next, in pieces. Rows of one list may lie a page apart, where no hardware prefetcher
// follows; asked for in the order of their addresses, evenly between the products of others, they arrive
// meanwhile.
class lines_ahead {
 public:
  static constexpr index_t line = 64;

  lines_ahead() = default;
  // `count` pieces of so many bytes, in so many calls of ask().
  lines_ahead(const std::byte* const* pieces, index_t count, index_t bytes, index_t calls)
      : pieces_(pieces), end_(pieces + count), bytes_(bytes) {
    at_once_ = calls > 0 ? (count * lines_of(bytes) + calls - 1) / calls : 0;
    next();
  }
  // Inlined by force, and into no lambda: gcc drops calls of functions that only prefetch.
  [[gnu::always_inline]] void ask() noexcept {
    if (left_ <= 0) return;
    for (index_t n = at_once_; n > 0; --n, at_ += line) __builtin_prefetch(at_, 0, 2);
    left_ -= at_once_;
    if (left_ <= 0) next();
  }

 private:
  static constexpr index_t lines_of(index_t bytes) { return (bytes + line - 1) / line; }
  // The next pieces that lie end to end.
  void next() noexcept {
    if (pieces_ == end_) return;
    const std::byte* last = at_ = *pieces_++;
    for (; pieces_ != end_ && *pieces_ == last + bytes_; ++pieces_) last = *pieces_;
    left_ = lines_of(last + bytes_ - at_);
  }

  const std::byte *const *pieces_ = nullptr, *const *end_ = nullptr, *at_ = nullptr;
  index_t bytes_ = 0, at_once_ = 0, left_ = 0;  // lines
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

  // Calls of ask() in score, and in collect, for n entries of d channels and G queries.
  // Tiles of many keys are few: they ask at every step over channels.
  template <int N>
  static constexpr bool asks_within = N < 4;
  template <class Rows, class T>
  static index_t steps_of_score(index_t G, index_t n, index_t d) {
    index_t calls = 0;
    in_fours(G, [&]<int N>(index_t) {
      const index_t tiles = (n + sums<T> / N - 1) / (sums<T> / N);
      calls += asks_within<N> ? tiles * (d / Rows::template step<pack<T>>) : tiles;
    });
    return calls;
  }
  template <class T>
  static index_t steps_of_collect(index_t G, index_t n, index_t d) {
    constexpr index_t channels = 4 * simd::width<pack<T>>;
    return (G + 3) / 4 * n * std::max<index_t>(d / channels, 1);
  }

  // scores[g .. g + N][i] = scale q_g . k_i for i < n; keys are read and scores written in whole tiles,
  // behind n as well.
  template <int N, class T, class Rows>
  [[gnu::noinline, gnu::flatten]] static void score(mat_view<const T> Q, index_t g, const Rows& keys,
                                                    index_t n, index_t d, T scale, mat_view<T> scores,
                                                    lines_ahead& next) noexcept {
    constexpr int K = sums<T> / N;
    const T* q[N];  // found once: between two tiles nothing else is worked out
    for (int j = 0; j < N; ++j) q[j] = Q[g + j].data();
    for (index_t i = 0; i < n; i += K) {
      if constexpr (!asks_within<N>) next.ask();
      products<N, K>(q, keys, d, scale, scores, g, i, next);
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
  template <int N, class T, class Rows>
  static void collect(mat_view<const T> weights, index_t g, const Rows& values, index_t n, mat_view<T> O,
                      lines_ahead& next) noexcept {
    using V = pack<T>;
    constexpr index_t width = simd::width<V>, step = Rows::template step<V>, packs = step / width;
    const index_t d = O.cols();
    index_t c = 0;
    for (; c + 4 * width <= d; c += 4 * width) columns<N, 4, V>(weights, g, values, n, O, c, next);
    for (; c + step <= d; c += step) columns<N, packs, V>(weights, g, values, n, O, c, next);
    if constexpr (std::is_same_v<Rows, plain_rows<T>>)
      for (; c < d; ++c) columns<N, 1, T>(weights, g, values, n, O, c, next);
  }

 private:
  template <int N, int K, class Rows, class T>
  static void products(const T* const* Q, const Rows& keys, index_t d, T scale, mat_view<T> scores, index_t g,
                       index_t i, lines_ahead& next) noexcept {
    using V = pack<T>;
    constexpr index_t width = simd::width<V>, step = Rows::template step<V>, packs = step / width;
    const index_t whole = d / step * step;
    V sum[N * K];
    unrolled<N * K>([&](index_t j) { sum[j] = V(T(0)); });
    // What there is less of stays in registers, beside the sums.
    const auto query = [&](index_t j, index_t c) { return simd::held(simd::load<V>(Q[j] + c)); };
    const auto key = [&](index_t k, index_t c, V* out) {
      keys.load(i + k, c, out);
      unrolled<packs>([&](index_t w) { out[w] = simd::held(out[w]); });
    };
    for (index_t c = 0; c < whole; c += step) {
      if constexpr (asks_within<N>) next.ask();
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
          const T *q = Q[j / K], *k = static_cast<const T*>(keys.row[i + j % K]);
          for (index_t c = whole; c < d; ++c) s[j] = simd::fma(q[c], k[c], s[j]);
          s[j] *= scale;
        }
    unrolled<N>([&](index_t j) { std::copy_n(s + j * K, K, scores[g + j].data() + i); });
  }
  template <int N, int W, class V, class Rows, class T>
  [[gnu::noinline, gnu::flatten]] static void columns(mat_view<const T> weights, index_t g,
                                                      const Rows& values, index_t n, mat_view<T> O, index_t c,
                                                      lines_ahead& next) noexcept {
    constexpr index_t step = Rows::template step<V>, packs = step / simd::width<V>;
    V sum[N][W];
    const auto at = [&](index_t j, index_t w) { return O[g + j].data() + c + w * simd::width<V>; };
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { sum[j][w] = simd::load<V>(at(j, w)); }); });
    for (index_t i = 0; i < n; ++i) {
      next.ask();
      V v[W];
      unrolled<W / packs>([&](index_t w) { values.load(i, c + w * step, v + w * packs); });
      unrolled<N>([&](index_t j) {
        const V p(weights[g + j][i]);
        unrolled<W>([&](index_t w) { sum[j][w] = simd::fma(p, v[w], sum[j][w]); });
      });
    }
    unrolled<N>([&](index_t j) { unrolled<W>([&](index_t w) { simd::store(at(j, w), sum[j][w]); }); });
  }
};

}  // namespace mneme::inline MNEME_ABI::detail
