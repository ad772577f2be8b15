// SPDX-License-Identifier: Apache-2.0
// Attention of all heads over their lists: long lists in parts, of one position or of several.
#pragma once
#include "attention.hpp"

#include <memory>

namespace mneme::inline MNEME_ABI {

// Long lists are read in parts. Their limits depend on the length alone, so that the bits do not depend on
// the threads, and stay where they are while a list grows by most_attention_parts * shortest_attention_part.
inline constexpr index_t most_attention_parts = 16, shortest_attention_part = 1024;
inline index_t attention_part(index_t size) {
  constexpr index_t step = most_attention_parts * shortest_attention_part;
  return shortest_attention_part * std::max<index_t>((size + step - 1) / step, 1);
}
inline index_t attention_parts(index_t size) {
  return std::max<index_t>((size + attention_part(size) - 1) / attention_part(size), 1);
}
// Rows of queries that share a decoded row of a list: their sums and scores fit the second-level cache.
inline constexpr index_t most_attention_rows = 256;
// Below this many products of a query with a channel waking a thread costs more than it saves; the numbers
// are the same either way.
inline constexpr index_t attention_worth_threads = 1 << 17;

// All heads over their lists, query head h over list h lists / heads: Q [heads, d_key], O [heads, d_value],
// P [heads, size] or no rows. entries_of(list) gives the entries of a list; all lists have the same number.
template <class Backend, class T, class EntriesOf>
void attend_lists(context& ctx, index_t lists, EntriesOf&& entries_of, double scale, mat_view<const T> Q,
                  mat_view<T> O, mat_view<T> P, const distance_bias& bias = {}) noexcept {
  using op = kernel<attention, Backend>;
  using entries = std::remove_cvref_t<decltype(entries_of(index_t{0}))>;
  context::frame scratch(ctx);
  const auto all = scratch.row<entries>(lists);
  for (index_t list = 0; list < lists; ++list) std::construct_at(&all[list], entries_of(list));
  const index_t heads = Q.rows(), G = heads / lists, size = all[0].size;
  // Scratch for every length is taken before the first token.
  const index_t parts = ctx.preparing ? most_attention_parts : attention_parts(size);
  const index_t length = attention_part(size);
  const auto highest = scratch.mat<T>(parts, heads), total = scratch.mat<T>(parts, heads);
  const auto sums = scratch.mat<T>((parts - 1) * heads, O.cols());
  const auto partial_of = [&](index_t k, index_t from, index_t to) {
    const partial<T> p{highest[k], total[k], k == 0 ? O : sums.range((k - 1) * heads, k * heads)};
    return p.of_heads(from, to);
  };
  const auto of_heads = [&](mat_view<T> M, index_t from, index_t to) {
    return M.rows() > 0 ? M.range(from, to) : M;
  };
  // Lists lie side by side: the same stretch of several of them is on the same pages of memory. But threads
  // want work, whatever their number.
  const bool alone = !ctx.threads;  // and one part follows the other
  const index_t groups = !alone ? std::min((most_attention_parts + parts - 1) / parts, lists) : 1;
  const auto one = [&](index_t job, context& worker) {
    const index_t k = job % parts, group = job / parts;
    const index_t first = group * lists / groups, last = (group + 1) * lists / groups;
    const index_t from = std::min(k * length, size), to = std::min(from + length, size);
    const index_t q = first * G, q_end = last * G;
    const partial<T> p = partial_of(k, q, q_end);
    clear(p);
    for (index_t at = from, end; at < to; at = end) {
      end = at + std::min(to - at, op::block);
      op::extend(worker, row_view<const entries>(all.sub(first, last - first)), at, end, alone ? size : to,
                 scale, Q.range(q, q_end), bias.of_list(first, G, last - first), p, of_heads(P, q, q_end));
    }
  };
  const auto joined = [&](index_t list, context&) {
    const index_t q = list * G, q_end = q + G;
    for (index_t k = 1; k < parts; ++k) merge(partial_of(0, q, q_end), partial_of(k, q, q_end));
    const auto p = of_heads(P, q, q_end);
    op::finish(partial_of(0, q, q_end), mat_view<T>(p.data(), p.rows(), size, p.stride()));
  };
  if (ctx.preparing || size * heads * Q.cols() >= attention_worth_threads) {
    ctx.parallel_for(groups * parts, one);
    ctx.parallel_for(lists, joined);
  } else {
    for (index_t job = 0; job < groups * parts; ++job) one(job, ctx);
    for (index_t list = 0; list < lists; ++list) joined(list, ctx);
  }
}

// The entries of a list as rows of T, whatever they are stored in: what follows is compiled once for all.
template <class T>
struct list_rows {
  const void* entries;
  index_t d_key, d_value, width;
  // Keys, or values, of the entries [from, from + n) to rows of `to` [.., width].
  void (*read)(const void* entries, bool values, index_t from, index_t n, mat_view<T> to) noexcept;
};

// attend_positions over lists of `size` entries.
template <class Backend, class T>
void attend_tiles(context& ctx, row_view<const list_rows<T>> lists, index_t size, double scale,
                  mat_view<const T> Q, mat_view<T> O, const distance_bias& bias) noexcept {
  using op = kernel<attention, Backend>;
  const index_t d = lists[0].d_key, d_value = lists[0].d_value;
  const index_t heads = Q.cols() / d, G = heads / lists.size(), positions = Q.rows();
  const index_t together = std::max<index_t>(most_attention_rows / G, 1);
  const index_t tiles = (positions + together - 1) / together;
  const auto seen = [=](index_t t) { return size - positions + 1 + t; };
  // Of positions [t, end), whose lists are cut into parts of one length.
  const auto some = [&](index_t list, index_t t, index_t end, context& worker) {
    context::frame scratch(worker);
    const index_t R = (end - t) * G, all = seen(end - 1), length = attention_part(all);
    const auto q = scratch.mat<T>(R, d), sums = scratch.mat<T>(2 * R, d_value);
    const auto numbers = scratch.mat<T>(4, R);
    for (index_t r = 0; r < R; ++r) std::copy_n(Q[t + r / G].data() + (list * G + r % G) * d, d, q[r].data());
    const partial<T> answer{numbers[0], numbers[1], sums.range(0, R)};
    const partial<T> more{numbers[2], numbers[3], sums.range(R, 2 * R)};
    const distance_bias of_list = bias.of_list(list, G).at(bias.position + 1 - positions + t);
    for (index_t from = 0; from < all; from += length) {
      const partial<T>& p = from == 0 ? answer : more;
      clear(p);
      op::extend_rows(worker, lists[list], from, std::min(from + length, all), scale, mat_view<const T>(q), G,
                      seen(t), of_list, p);
      if (from > 0) merge(answer, more);
    }
    op::finish(answer, mat_view<T>());
    if (ctx.preparing) return;  // threads share a tile
    for (index_t r = 0; r < R; ++r)
      std::copy_n(answer.sum[r].data(), d_value, O[t + r / G].data() + (list * G + r % G) * d_value);
  };
  const auto one = [&](index_t job, context& worker) {
    // Late positions see more: a thread, which takes jobs in order, has as many late ones as early ones.
    const index_t i = job % tiles, tile = i % 2 == 0 ? i / 2 : tiles - 1 - i / 2;
    const index_t last = std::min((tile + 1) * together, positions);
    for (index_t t = tile * together, end; t < last; t = end) {
      for (end = t + 1; end < last && attention_part(seen(end)) == attention_part(seen(t));) ++end;
      some(job / tiles, t, end, worker);
    }
  };
  if (ctx.preparing)  // every thread may get a whole tile
    ctx.parallel_for(lists.size() * most_attention_parts,
                     [&](index_t job, context& worker) { one(job % lists.size() * tiles, worker); });
  else if (positions * size * heads * d >= attention_worth_threads)
    ctx.parallel_for(lists.size() * tiles, one);
  else
    for (index_t job = 0; job < lists.size() * tiles; ++job) one(job, ctx);
}

// The same for consecutive positions of one stream, of which the last sees all entries, every other one entry
// fewer than the one after it: Q [positions, heads d_key], O [positions, heads d_value]; the bias is that of
// the last. An answer has the bits that it has alone. Each row of a list is decoded once for a tile of
// positions.
template <class Backend, class T, class EntriesOf>
void attend_positions(context& ctx, index_t lists, EntriesOf&& entries_of, double scale, mat_view<const T> Q,
                      mat_view<T> O, const distance_bias& bias = {}) noexcept {
  using op = kernel<attention, Backend>;
  using entries = std::remove_cvref_t<decltype(entries_of(index_t{0}))>;
  context::frame scratch(ctx);
  const auto of = scratch.row<entries>(lists);
  for (index_t list = 0; list < lists; ++list) std::construct_at(&of[list], entries_of(list));
  if constexpr (op::shares_rows) {
    const auto rows = scratch.row<list_rows<T>>(lists);
    for (index_t list = 0; list < lists; ++list) rows[list] = op::template rows<T>(of[list]);
    attend_tiles<Backend, T>(ctx, rows, of[0].size, scale, Q, O, bias);
  } else {
    const index_t positions = Q.rows(), size = of[0].size, heads = Q.cols() / of[0].d_key;
    for (index_t t = 0; t < positions; ++t) {
      for (entries& kv : of) kv.size = size - positions + 1 + t;
      attend_lists<Backend, T>(
          ctx, lists, [&](index_t list) -> const entries& { return of[list]; }, scale,
          mat_view<const T>(Q[t].data(), heads, of[0].d_key), mat_view<T>(O[t].data(), heads, of[0].d_value),
          {}, bias.at(bias.position + 1 - positions + t));
    }
  }
}

}  // namespace mneme::inline MNEME_ABI
