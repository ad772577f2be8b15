// SPDX-License-Identifier: Apache-2.0
// What an eviction policy is: scores of entries. The cache does the rest.
#pragma once
#include "../core/context.hpp"
#include "../math/rope.hpp"

#include <concepts>
#include <limits>

namespace mneme::inline MNEME_ABI::evict {

// Where scores are compared: `list`, every key/value head evicts its own entry; `layer`, one victim for all
// heads.
enum class scope : std::uint8_t { list, layer };
// When entries leave: after every token, so that `capacity` bounds the cache at all times, or at end_segment
// alone.
enum class trigger : std::uint8_t { token, segment };
// What becomes of the entries that leave: nothing, or their values are merged into the nearest that stays
// (see memory/detail/kv_merge.hpp).
enum class merge : std::uint8_t { none, nearest, counted };
// Which queries a policy looks at, if any: as attended (turned to their position), or before that.
enum class queries : std::uint8_t { none, turned, plain };

// An entry as a policy sees it.
template <class T>
struct entry {
  index_t position;  // absolute position of its token
  T meta;            // what the policy remembers of it
  index_t list = 0;  // its key/value head; 0 in scope `layer`
};
// After the newest token attended: entries more than `capacity` are to leave.
struct moment {
  index_t newest;  // position of the newest token
  index_t capacity;
  index_t size = 0;  // live entries, that of the newest token included
};
// All entries of one list in ascending position, for policies that weigh them against each other.
template <class T>
struct list_view {
  row_view<const index_t> positions;
  mat_view<const T> keys, values;  // as stored; keys are turned to their positions
  mat_view<const T> queries;       // [query heads of the list][query_memory]
  const rope& turns;
};

template <class T>
inline constexpr T keep_always = std::numeric_limits<T>::infinity();

// A policy is one small file:
//   name                       in tables and command lines
//   bounded                    false: nothing is ever evicted
//   where                      scope of the choice
//   reads_attention            whether `updated` needs to know the attention
//   has_meta                   whether it remembers a number per entry, by
//     first(key, value)        what an entry begins with, of [d_key] and [d_value]; scope `list` only; else 0
//     updated(meta, received)  or updated(meta, received, moment), after every token; `received`: attention
//                              from the newest query, mean over the heads of the scope (0 unless asked for)
// the lowest score leaves, among equal scores the oldest; one of
//   score(entry, moment)
//   score_list(ctx, list, moment, out)    scores of all entries of a list; scope `list` only
// and, of what it reads from queries,
//   reads                      queries::turned or queries::plain
//   query_memory(d, capacity)  numbers kept per query head, all zero at the start
//   observe(memory, query, moment)        after every token
// and, where entries leave in the order in which they came, but for some of the first (a ring asks for it),
//   pinned(capacity)           how many of the first stay
// Scores are functions of what the state holds: a choice put off to the end of a segment asks nothing else.
template <class P>
concept ScoresLists =
    requires(context& ctx, const list_view<float>& l, const moment& m, row_view<float> out) {
      P::score_list(ctx, l, m, out);
    } && P::where == scope::list;
template <class P>
concept ReadsQueries = requires(row_view<float> memory, row_view<const float> q, const moment& m) {
  { P::reads } -> std::convertible_to<queries>;
  { P::query_memory(index_t{}, index_t{}) } -> std::same_as<index_t>;
  P::observe(memory, q, m);
};
template <class P>
concept Updates = requires(float x) {
  { P::updated(x, x) } -> std::same_as<float>;
} || requires(float x, const moment& m) {
  { P::updated(x, x, m) } -> std::same_as<float>;
};
template <class P>
concept StartsFromEntry = requires(row_view<const float> x) {
  { P::first(x, x) } -> std::same_as<float>;
};

template <class P>
concept Policy = requires {
  { P::name } -> std::convertible_to<const char*>;
  { P::bounded } -> std::convertible_to<bool>;
  { P::where } -> std::convertible_to<scope>;
  { P::reads_attention } -> std::convertible_to<bool>;
  { P::has_meta } -> std::convertible_to<bool>;
} && (!P::bounded || ScoresLists<P> || requires(const entry<float>& e, const moment& m) {
                   { P::score(e, m) } -> std::same_as<float>;
                 }) && (!P::has_meta || Updates<P> || StartsFromEntry<P>);

// What a policy's queries are, where it reads any.
template <class P>
constexpr queries queries_of() {
  if constexpr (ReadsQueries<P>)
    return P::reads;
  else
    return queries::none;
}

}  // namespace mneme::inline MNEME_ABI::evict
