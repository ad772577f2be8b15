// SPDX-License-Identifier: Apache-2.0
// attention on packs: one pass over the entries in blocks, running maximum and sum.
#pragma once
#include "../../op/attention_lists.hpp"
#include "../dispatch.hpp"
#include "attention_block.hpp"

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
      extend(ctx, row_view<const E>(&kv, 1), at, end, to, scale, Q, bias, p, S);
    }
  }
  template <class T, KvEntries E>
  static void extend(context& ctx, row_view<const E> lists, index_t from, index_t to, index_t next_to,
                     double scale, mat_view<const T> Q, const distance_bias& bias, const partial<T>& p,
                     mat_view<T> S) noexcept {
    context::frame scratch(ctx);
    const auto scores = scratch.mat<T>(Q.rows(), block);
    const index_t G = Q.rows() / lists.size();
    const auto soften = [&](index_t list) {
      for (index_t g = list * G; g < (list + 1) * G; ++g) {
        const auto s = scores[g].sub(0, to - from);
        bias.of_list(list, G).add(g - list * G, from, s);
        if (S.rows() > 0) std::copy_n(s.data(), s.size(), S[g].data() + from);
        tile::soften(s, p.sum[g], p.highest[g], p.total[g]);
      }
    };
    if constexpr (may_read_stored<T, E>())
      if (reads_stored<T>(lists[0])) {
        using rows =
            std::conditional_t<E::type == dtype_of<T>, detail::plain_rows<T>, detail::coded_rows<E::type>>;
        detail::block_of_lists<rows, T, E> stored(lists, from, to, next_to);
        stored.template score<tile>(Q, static_cast<T>(scale), scores);
        for (index_t list = 0; list < lists.size(); ++list) soften(list);
        return stored.template collect<tile>(mat_view<const T>(scores), p.sum);
      }
    if constexpr (!(StoredEntries<E> && E::template in_place<T>)) {
      using rows = detail::plain_rows<T>;
      const auto room = scratch.mat<T>(block, lists[0].width());
      const void* at[block];
      detail::lines_ahead none;
      const index_t n = to - from;
      for (index_t list = 0; list < lists.size(); ++list) {
        const E& kv = lists[list];
        const mat_view<const T> q = Q.range(list * G, (list + 1) * G);
        const auto s = scores.range(list * G, (list + 1) * G);
        for (index_t i = 0; i < n; ++i) at[i] = kv.template key_row<Arch>(from + i, room[i].data());
        std::fill(at + n, at + block, at[n - 1]);  // tiles are whole
        tile::in_fours(G, [&]<int N>(index_t g) {
          tile::template score<N>(q, g, rows{at}, n, kv.d_key, static_cast<T>(scale), s, none);
        });
        soften(list);
        for (index_t i = 0; i < n; ++i) at[i] = kv.template value_row<Arch>(from + i, room[i].data());
        tile::in_fours(G, [&]<int N>(index_t g) {
          tile::template collect<N>(mat_view<const T>(s), g, rows{at}, n,
                                    p.sum.range(list * G, (list + 1) * G), none);
        });
      }
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
    detail::lines_ahead none;
    for (index_t first = from; first < to; first += block) {
      const index_t n = std::min(block, to - first);
      const auto visible = [&](index_t r) { return std::clamp<index_t>(seen + r / G - first, 0, n); };
      kv.read(kv.entries, false, first, n, rows);
      std::fill(at + n, at + block, at[n - 1]);
      tile::in_fours(R, [&]<int N>(index_t r) {
        if (const index_t m = visible(r + N - 1); m > 0)
          tile::template score<N>(Q, r, plain{at}, m, kv.d_key, static_cast<T>(scale), scores, none);
      });
      for (index_t r = 0; r < R; ++r)
        if (const auto s = scores[r].sub(0, visible(r)); s.size() > 0) {
          bias.at(bias.position + r / G).add(r % G, first, s);
          tile::soften(s, p.sum[r], p.highest[r], p.total[r]);
        }
      kv.read(kv.entries, true, first, n, rows);
      tile::in_fours(R, [&]<int N>(index_t r) {
        const index_t all = visible(r);
        if (all > 0) tile::template collect<N>(mat_view<const T>(scores), r, plain{at}, all, p.sum, none);
        for (index_t j = r + 1; j < r + N; ++j)  // what later rows see beyond it
          if (const index_t m = visible(j); m > all)
            tile::template collect<1>(mat_view<const T>(scores.data() + all, R, block - all, block), j,
                                      plain{at + all}, m - all, p.sum, none);
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
          ask_for<2>(values ? kv.value(from + i + ahead) : kv.key(from + i + ahead),
                     detail::stored_bytes<E>(d));
      T* const room = to[i].data();
      const T* const row =
          values ? kv.template value_row<Arch>(from + i, room) : kv.template key_row<Arch>(from + i, room);
      if (row != room) std::copy_n(row, d, room);
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
