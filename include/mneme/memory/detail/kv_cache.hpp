// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kv_merge.hpp"
#include "kv_slots.hpp"

namespace mneme::inline MNEME_ABI {

// Store and policy together: append one entry to every list, tell the policy what it asks for, then let go
// what is more than `capacity`.
template <class T, class Policy, class Store>
class kv_cache : public kv_slots<T, Policy, Store> {
  using layout = kv_slots<T, Policy, Store>;

 public:
  using state = typename layout::state;
  using layout::grows;
  using layout::kv_slots;
  using layout::sort;

  // The newest token's queries [heads d_head], for a policy that reads those of this kind.
  template <evict::queries Kind>
  void observe(state& s, row_view<const T> q) const noexcept {
    if constexpr (evict::queries_of<Policy>() == Kind)
      for (index_t h = 0; h < rules_.heads; ++h)
        Policy::observe(s.queries.view().sub(h * query_memory(), query_memory()),
                        q.sub(h * rules_.d_head, rules_.d_head), now(s, s.size));
  }
  // Where the attention of the newest token goes: [heads, size], no rows if the policy does not read it.
  mat_view<T> attention_room(context& ctx, context::frame& scratch, state& s) const noexcept {
    const index_t heads = Policy::reads_attention ? rules_.heads : 0, n = heads * s.size;
    if (!grows()) return {scratch.template row<T>(heads * slots_to_prepare(ctx, s)).data(), heads, s.size};
    if (s.workspace.capacity() < n) s.workspace.reserve(2 * n);
    return {s.workspace.data(), heads, s.size};
  }
  // After the newest token attended; P as from attention_room.
  void remember(state& s, mat_view<const T> P) const noexcept {
    if constexpr (Policy::bounded && Policy::has_meta && evict::Updates<Policy>) {
      const index_t heads = per_list ? P.rows() / shape_.lists : P.rows();
      for (index_t table = 0; table < tables(); ++table)
        for (index_t i = 0; i < s.size; ++i) {
          T received = 0;  // mean over the query heads of the scope
          for (index_t h = 0; h < heads; ++h) received += P[table * heads + h][i];
          if (heads > 0) received /= static_cast<T>(heads);
          T& meta = s.meta[at(s, table, i)];
          if constexpr (requires { Policy::updated(meta, received, evict::moment{}); })
            meta = Policy::updated(meta, received, now(s, s.size));
          else
            meta = Policy::updated(meta, received);
        }
    }
  }
  // After every token.
  void settle(context& ctx, state& s, const rope& turns) const noexcept {
    if (!grows()) cut(ctx, s, turns);
  }
  void end_segment(context& ctx, state& s, const rope& turns) const noexcept {
    if (Policy::bounded && grows()) cut(ctx, s, turns);
  }

 private:
  using layout::at;
  using layout::capacity_;
  using layout::now;
  using layout::per_list;
  using layout::query_memory;
  using layout::resize;
  using layout::rules_;
  using layout::shape_;
  using layout::slots_to_prepare;
  using layout::tables;

  // Lets the entries of lowest score go until `capacity` are left. A context that is being prepared is led
  // through it once with a full cache, for the scratch.
  void cut(context& ctx, state& s, const rope& turns) const noexcept {
    if constexpr (Policy::bounded) {
      const bool rehearsal = ctx.preparing && !grows() && s.newest == 0;
      const index_t n = rehearsal ? capacity_ + 1 : s.size, leaving = n - capacity_;
      if (leaving <= 0) return;
      context::frame scratch(ctx);
      const auto scores = scratch.template row<T>(n);
      const auto slots = scratch.template row<index_t>(n);
      for (index_t table = 0; table < tables(); ++table) {
        score(ctx, s, table, turns, scores);
        const auto gone = lowest(s, table, scores, slots, leaving);
        const index_t first_list = per_list ? table : 0, end = per_list ? table + 1 : shape_.lists;
        for (index_t list = first_list; list < end; ++list) {
          for (const index_t slot : gone)
            if (ctx.on_eviction && !rehearsal) tell(ctx, s, list, slot, s.positions[at(s, table, slot)]);
          if (rules_.merging != evict::merge::none) merge(ctx, s, list, n, gone, rehearsal);
          if (!rehearsal)
            close_ranks(n, gone, [&](index_t from, index_t to) { s.store.move(shape_, list, from, to); });
        }
        if (!rehearsal) {
          close_ranks(s.positions, s, table, gone);
          if constexpr (Policy::has_meta) close_ranks(s.meta, s, table, gone);
        }
      }
      if (!rehearsal) resize(s, capacity_);
    }
  }
  // out [n]: the scores of slots [0, n). What is no number leaves first.
  void score(context& ctx, const state& s, index_t table, const rope& turns, row_view<T> out) const noexcept {
    const index_t n = out.size();
    const evict::moment when = now(s, n);
    if constexpr (evict::ScoresLists<Policy>) {
      context::frame scratch(ctx);
      const auto slots = scratch.template row<index_t>(n), positions = scratch.template row<index_t>(n);
      const auto ranked = scratch.template row<T>(n);
      sort(s, table, slots);
      const auto rows = decoded(scratch, s, table, slots);
      for (index_t i = 0; i < n; ++i) positions[i] = s.positions[at(s, table, slots[i])];
      const index_t group = rules_.heads / shape_.lists;
      const mat_view<const T> queries(s.queries.data() + table * group * query_memory(), group,
                                      query_memory());
      const mat_view<const T> keys(rows.keys.data(), n, rules_.d_head, rows.keys.stride());
      Policy::score_list(ctx, evict::list_view<T>{positions, keys, rows.values, queries, turns}, when,
                         ranked);
      for (index_t i = 0; i < n; ++i) out[slots[i]] = ranked[i];
    } else {
      for (index_t i = 0; i < n; ++i)
        out[i] = Policy::score(evict::entry<T>{s.positions[at(s, table, i)],
                                               Policy::has_meta ? s.meta[at(s, table, i)] : T(0), table},
                               when);
    }
    for (T& x : out)
      if (!(x == x)) x = -evict::keep_always<T>;
  }
  // The slots of the `leaving` lowest scores, ascending; among equal scores the oldest entries.
  row_view<const index_t> lowest(const state& s, index_t table, row_view<const T> scores,
                                 row_view<index_t> slots, index_t leaving) const noexcept {
    const index_t* p = s.positions.data() + at(s, table, 0);
    const auto sooner = [&](index_t a, index_t b) {
      return scores[a] < scores[b] || (scores[a] == scores[b] && p[a] < p[b]);
    };
    std::iota(slots.begin(), slots.end(), index_t{0});
    if (leaving == 1) {
      slots[0] = *std::min_element(slots.begin(), slots.end(), sooner);
    } else {
      std::nth_element(slots.begin(), slots.begin() + leaving - 1, slots.end(), sooner);
      std::sort(slots.begin(), slots.begin() + leaving);
    }
    return slots.sub(0, leaving);
  }

  // f(from, to) for what moves into the slots that become free; where `to` is `from`, nothing does.
  template <class F>
  void close_ranks(index_t n, row_view<const index_t> gone, F&& f) const noexcept {
    if (!grows()) return f(n - 1, gone[0]);
    index_t to = gone[0], next = 0;
    for (index_t from = to; from < n; ++from)
      if (next < gone.size() && gone[next] == from)
        ++next;
      else
        f(from, to++);
    for (const index_t slot : gone)
      if (slot >= n - gone.size()) f(slot, slot);
  }
  template <class E>
  void close_ranks(buffer<E>& b, const state& s, index_t table, row_view<const index_t> gone) const noexcept {
    E* x = b.data() + at(s, table, 0);
    close_ranks(s.size, gone, [x](index_t from, index_t to) { x[to] = x[from]; });
    std::fill_n(x + s.size - gone.size(), gone.size(), E{});
  }

  struct decoded_rows {
    mat_view<T> keys, values;  // [n, d_key], [n, d_value]
  };
  decoded_rows decoded(context::frame& scratch, const state& s, index_t list,
                       row_view<const index_t> slots) const noexcept {
    const index_t n = slots.size();
    const auto rows = s.store.rows(shape_, list, n);
    const auto keys = scratch.template mat<T>(n, rows.width()),
               values = scratch.template mat<T>(n, rows.width());
    for (index_t i = 0; i < n; ++i) {
      copy(rows.template key_row<simd::scalar>(slots[i], keys[i].data()), shape_.d_key, keys[i].data());
      copy(rows.template value_row<simd::scalar>(slots[i], values[i].data()), shape_.d_value,
           values[i].data());
    }
    return {{keys.data(), n, shape_.d_key, keys.stride()},
            {values.data(), n, shape_.d_value, values.stride()}};
  }
  template <class E>
  static void copy(const E* row, index_t d, E* to) noexcept {
    if (row != to) std::copy_n(row, d, to);
  }
  void merge(context& ctx, state& s, index_t list, index_t n, row_view<const index_t> gone,
             bool rehearsal) const noexcept {
    context::frame scratch(ctx);
    const auto slots = scratch.template row<index_t>(n);
    std::iota(slots.begin(), slots.end(), index_t{0});
    const auto rows = decoded(scratch, s, list, slots);
    merge_entries(ctx, rules_.merging, rules_.d_head, rows.keys, rows.values, gone, [&](index_t i) {
      if (!rehearsal) s.store.write(shape_, list, i, rows.keys[i].data(), rows.values[i].data());
    });
  }
  void tell(context& ctx, const state& s, index_t list, index_t slot, index_t position) const noexcept {
    context::frame scratch(ctx);
    const auto rows = s.store.rows(shape_, list, s.size);
    const auto key = scratch.template row<float>(rows.width()),
               value = scratch.template row<float>(rows.width());
    copy(rows.template key_row<simd::scalar>(slot, key.data()), rules_.d_head, key.data());
    copy(rows.template value_row<simd::scalar>(slot, value.data()), shape_.d_value, value.data());
    ctx.on_eviction->evicted(ctx.on_eviction->self, {Policy::name, list, position, key.sub(0, rules_.d_head),
                                                     value.sub(0, shape_.d_value)});
  }
};

}  // namespace mneme::inline MNEME_ABI
