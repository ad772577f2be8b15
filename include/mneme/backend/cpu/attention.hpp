// SPDX-License-Identifier: Apache-2.0
// attention on packs: one pass over the entries in blocks, running maximum and sum.
#pragma once
#include "../../op/attention_lists.hpp"
#include "../dispatch.hpp"
#include "attention_tile.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Each row is decoded once for every four query heads of the group, in registers where they hold a group of
// channels, else to scratch; several positions share a row in scratch. Scratch does not grow with the number
// of entries, so that a step of an unbounded cache allocates nothing. Block limits depend on the slot alone:
// a query's sums are formed in the same order whatever else is asked.
template <class Arch>
struct kernel<attention, cpu<Arch>> {
 private:
  using tile = detail::attention_tile<Arch>;

 public:
  static constexpr index_t block = tile::block;
  static constexpr bool shares_rows = true;

  template <class T, KvEntries E>
  static void run(context& ctx, const E& kv, double scale, mat_view<const T> Q, mat_view<T> O, mat_view<T> P,
                  const distance_bias& bias = {}) noexcept {
    attend_lists<cpu<Arch>, T>(ctx, 1, [&](index_t) -> const E& { return kv; }, scale, Q, O, P, bias);
  }
  template <class T, KvEntries E>
  static void part(context& ctx, const E& kv, index_t from, index_t to, double scale, mat_view<const T> Q,
                   const distance_bias& bias, const partial<T>& p, mat_view<T> S) noexcept {
    clear(p);
    for (index_t at = from, end; at < to; at = end) {
      end = std::min(at + block, to);
      extend(ctx, kv, at, end, scale, Q, bias, p, S, kv, end, to);
    }
  }
  template <class T, KvEntries E>
  static void extend(context& ctx, const E& kv, index_t from, index_t to, double scale, mat_view<const T> Q,
                     const distance_bias& bias, const partial<T>& p, mat_view<T> S, const E& next,
                     index_t next_from, index_t next_to) noexcept {
    rows_of_block rows{from, to - from, kv.d_key};
    if constexpr (StoredEntries<E>) {
      rows.next = std::min(next_to - next_from, block);
      rows.next_bytes = bytes<E>(kv.d_key);
      for (index_t i = 0; i < rows.next; ++i) rows.asked[i] = next.key(next_from + i);
    }
    if constexpr (may_read_stored<T, E>())
      if (reads_stored<T>(kv)) {
        using stored =
            std::conditional_t<E::type == dtype_of<T>, detail::plain_rows<T>, detail::coded_rows<E::type>>;
        rows.value_bytes = bytes<E>(kv.d_value);
        for (index_t i = 0; i < rows.n; ++i) rows.keys[i] = kv.key(from + i);
        for (index_t i = 0; i < rows.n; ++i) rows.values[i] = kv.value(from + i);
        return add<stored, T>(ctx, rows, scale, Q, bias, p, S);
      }
    if constexpr (!(StoredEntries<E> && E::template in_place<T>)) {
      context::frame scratch(ctx);
      const auto keys = scratch.mat<T>(block, kv.width()), values = scratch.mat<T>(block, kv.width());
      for (index_t i = 0; i < rows.n; ++i) {
        if constexpr (StoredEntries<E>) detail::ask_for(kv.value(from + i), bytes<E>(kv.d_value));
        rows.keys[i] = kv.template key_row<Arch>(from + i, keys[i].data());
      }
      for (index_t i = 0; i < rows.n; ++i)
        rows.values[i] = kv.template value_row<Arch>(from + i, values[i].data());
      add<detail::plain_rows<T>, T>(ctx, rows, scale, Q, bias, p, S);
    }
  }
  // Rows of T, read one block at a time.
  template <class T, KvEntries E>
  static list_rows<T> rows(const E& kv) noexcept {
    return {&kv, kv.d_key, kv.d_value, kv.width(), &read<T, E>};
  }
  template <class T>
  static void extend_rows(context& ctx, const list_rows<T>& kv, index_t from, index_t to, double scale,
                          mat_view<const T> Q, index_t G, index_t seen, const distance_bias& bias,
                          const partial<T>& p) noexcept {
    using plain = detail::plain_rows<T>;
    context::frame scratch(ctx);
    const index_t R = Q.rows();
    const auto rows = scratch.mat<T>(block, kv.width), scores = scratch.mat<T>(R, block);
    const void* at[block];
    for (index_t i = 0; i < block; ++i) at[i] = rows[i].data();
    detail::rows_ahead none;
    for (index_t first = from; first < to; first += block) {
      const index_t n = std::min(block, to - first);
      const auto visible = [&](index_t r) { return std::clamp<index_t>(seen + r / G - first, 0, n); };
      kv.read(kv.entries, false, first, n, rows);
      std::fill(at + n, at + block, at[n - 1]);
      tile::in_fours(R, [&]<int N>(index_t r) {
        if (const index_t m = visible(r + N - 1); m > 0)
          tile::template score<N, plain, T>(Q, r, at, m, kv.d_key, static_cast<T>(scale), scores, none);
      });
      for (index_t r = 0; r < R; ++r)
        if (const auto s = scores[r].sub(0, visible(r)); s.size() > 0) {
          bias.at(bias.position + r / G).add(r % G, first, s);
          tile::soften(s, p.sum[r], p.highest[r], p.total[r]);
        }
      kv.read(kv.entries, true, first, n, rows);
      tile::in_fours(R, [&]<int N>(index_t r) {
        const index_t all = visible(r);
        if (all > 0) tile::template collect<N, plain, T>(scores, r, at, all, p.sum, none);
        for (index_t j = r + 1; j < r + N; ++j)  // what later rows see beyond it
          if (const index_t m = visible(j); m > all)
            tile::template collect<1, plain, T>(mat_view<T>(scores.data() + all, R, block - all, block), j,
                                                at + all, m - all, p.sum, none);
      });
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
  template <class E>
  static constexpr index_t bytes(index_t d) {
    return row_bytes(E::type, stored_row<E::type>::padded(d));
  }
  // Whether the loops may read rows where they stand: as T, or as floats in whole groups of at most four
  // packs (double, which is there to check, does without).
  template <class T>
  static constexpr bool decodes_in_registers =
      std::is_same_v<T, float> && decode_group <= 4 * simd::width<simd::pack<T, Arch>>;
  template <class T, class E>
  static constexpr bool may_read_stored() {
    if constexpr (StoredEntries<E>)
      return E::type == dtype_of<T> || decodes_in_registers<T>;
    else
      return false;
  }
  template <class T, class E>
  static bool reads_stored(const E& kv) noexcept {
    if constexpr (requires { kv.as_stored(); })
      if (!kv.as_stored()) return false;
    return E::type == dtype_of<T> || (kv.d_key % decode_group == 0 && kv.d_value % decode_group == 0);
  }
  // list_rows::read.
  template <class T, class E>
  static void read(const void* entries, bool values, index_t from, index_t n, mat_view<T> to) noexcept {
    const E& kv = *static_cast<const E*>(entries);
    const index_t d = values ? kv.d_value : kv.d_key;
    for (index_t i = 0; i < n; ++i) {
      if constexpr (StoredEntries<E>)
        if (constexpr index_t ahead = 8; i + ahead < n)
          detail::ask_for(values ? kv.value(from + i + ahead) : kv.key(from + i + ahead), bytes<E>(d));
      T* const room = to[i].data();
      const T* const row =
          values ? kv.template value_row<Arch>(from + i, room) : kv.template key_row<Arch>(from + i, room);
      if (row != room) std::copy_n(row, d, room);
    }
  }

  struct rows_of_block {
    index_t first, n, d_key;
    index_t value_bytes = 0, next = 0, next_bytes = 0;  // to ask for: values if they are stored, next keys
    const void *keys[block] = {}, *values[block] = {}, *asked[block] = {};
  };
  // Adds a block to p.
  template <class Rows, class T>
  static void add(context& ctx, rows_of_block& b, double scale, mat_view<const T> Q,
                  const distance_bias& bias, const partial<T>& p, mat_view<T> S) noexcept {
    context::frame scratch(ctx);
    const index_t G = Q.rows(), n = b.n;
    const auto scores = scratch.mat<T>(G, block);
    std::fill(b.keys + n, b.keys + block, b.keys[n - 1]);  // tiles are whole
    detail::rows_ahead values{b.values, b.value_bytes > 0 ? n : 0, b.value_bytes};
    detail::rows_ahead keys{b.asked, b.next, b.next_bytes};
    tile::in_fours(G, [&]<int N>(index_t g) {
      tile::template score<N, Rows, T>(Q, g, b.keys, n, b.d_key, static_cast<T>(scale), scores, values);
      values.rows = 0;
    });
    for (index_t g = 0; g < G; ++g) bias.add(g, b.first, scores[g].sub(0, n));
    if (S.rows() > 0)
      for (index_t g = 0; g < G; ++g) std::copy_n(scores[g].data(), n, S[g].data() + b.first);
    for (index_t g = 0; g < G; ++g) tile::soften(scores[g].sub(0, n), p.sum[g], p.highest[g], p.total[g]);
    tile::in_fours(G, [&]<int N>(index_t g) {
      tile::template collect<N, Rows, T>(scores, g, b.values, n, p.sum, keys);
      keys.rows = 0;
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
