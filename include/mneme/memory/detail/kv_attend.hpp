// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../op/attention_lists.hpp"
#include "kv_cache.hpp"
#include "kv_turned.hpp"

namespace mneme::inline MNEME_ABI {

// Whether several positions may attend after all of them are stored: nobody asks what each of them attended
// to, and an entry reads the same however many follow it.
template <class Policy, class Store>
inline constexpr bool attends_together =
    !Policy::reads_attention &&
    StoredEntries<decltype(std::declval<const Store&>().rows(kv_shape{}, index_t{}, index_t{}))>;

// All query heads over the lists of a cache: Q [positions, heads d_key], O [positions, heads d_value]. The
// last position sees all entries, one before it an entry fewer; the bias is that of the last. P [heads, size]
// receives the attention of a single position if it has rows. Keys are turned to their place in the cache if
// `turns` is given; `angles` are those of the first places.
template <class Backend, class T, class Policy, class Store>
void attend_cache(context& ctx, const kv_cache<T, Policy, Store>& cache, const kv_state<T, Store>& s,
                  const rope* turns, row_view<const T> angles, double scale, index_t heads,
                  mat_view<const T> Q, mat_view<T> O, mat_view<T> P, distance_bias bias) noexcept {
  context::frame scratch(ctx);
  const kv_shape& shape = cache.shape();
  const auto over = [&](auto&& entries_of) {
    if constexpr (attends_together<Policy, Store>)
      if (Q.rows() > 1) return attend_positions<Backend, T>(ctx, shape.lists, entries_of, scale, Q, O, bias);
    attend_lists<Backend, T>(ctx, shape.lists, entries_of, scale,
                             mat_view<const T>(Q.data(), heads, shape.d_key),
                             mat_view<T>(O.data(), heads, shape.d_value), P, bias);
  };
  const auto stored = [&](index_t list) { return s.store.rows(shape, list, s.size); };
  bias.positions = cache.positions(s);
  if constexpr (Policy::bounded && !evict::ReadsQueries<Policy>) {
    turned_rows<T> how;
    if (turns) how = {turns, angles, bias.positions = cache.ranks(ctx, scratch, s)};
    over([&](index_t list) { return turned_entries{stored(list), how, list}; });
  } else {
    over(stored);
  }
}

}  // namespace mneme::inline MNEME_ABI
