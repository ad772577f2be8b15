// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/context.hpp"
#include "../../core/fields.hpp"
#include "../../evict/policy.hpp"
#include "../../store/contiguous.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <vector>

namespace mneme::inline MNEME_ABI {

// The state of one layer's cache.
//   store       keys and values; live entries are slots [0, size) of every list
//   positions   [tables][stride] absolute positions; a table per list, or one where all lists agree. Empty
//               when nothing is ever evicted: then the slot is the position
//   meta        [tables][stride] what the policy remembers of entries; empty where it remembers nothing
//   queries     [query heads][..] what the policy remembers of queries
//   workspace   always of size 0: its reserve holds the attention of one token where lists grow
template <class T, class Store>
struct kv_state {
  Store store;
  buffer<index_t> positions;
  buffer<T> meta;
  buffer<T> queries;
  buffer<T> workspace;
  index_t size = 0;     // live entries per list
  index_t newest = -1;  // position of the newest token; the next one is newest + 1

  friend bool operator==(const kv_state&, const kv_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("store", s.store...);
    f("positions", s.positions...);
    f("meta", s.meta...);
    f("queries", s.queries...);
    f("workspace", s.workspace...);
    f("size", s.size...);
    f("newest", s.newest...);
  }
};

// How a cache is kept; see kv_attention_config. d_head: key channels without what merging adds to them.
struct kv_rules {
  index_t capacity = 0, heads = 1, d_head = 1;
  evict::trigger when = evict::trigger::token;
  evict::merge merging = evict::merge::none;
};

// Where the entries of a cache lie.
//   trigger::token     slots for capacity + 1 entries; the newest takes the victim's slot, so that live slots
//   have no
//                      holes and the layout depends on the token history alone; dead slots are zero
//   trigger::segment   slots in ascending position, as many as there are entries; at end_segment they close
//   ranks
template <class T, class Policy, class Store>
class kv_slots {
 public:
  using state = kv_state<T, Store>;

  kv_slots() = default;
  // Precondition: capacity >= 1 if the policy is bounded.
  kv_slots(kv_shape shape, const kv_rules& rules) : shape_(shape), rules_(rules), capacity_(rules.capacity) {
    if constexpr (requires { Policy::pinned(capacity_); }) shape_.pinned = Policy::pinned(capacity_);
  }

  const kv_shape& shape() const { return shape_; }
  // Whether lists are longer than `capacity` at times.
  bool grows() const { return !Policy::bounded || rules_.when == evict::trigger::segment; }

  state init(place where) const {
    const index_t slots = grows() ? 0 : capacity_ + 1, numbers = tables() * slots;
    return {Store::with_slots(shape_, slots, where),
            buffer<index_t>(numbers, 0, where),
            buffer<T>(Policy::has_meta ? numbers : 0, T(0), where),
            buffer<T>(rules_.heads * query_memory(), T(0), where),
            buffer<T>(0, T(0), where),
            0,
            -1};
  }
  // Room for n more entries; caches that do not grow have theirs, unless their store shares it with copies.
  void reserve(state& s, index_t n) const {
    const index_t most = s.size + n;
    if constexpr (resizable)
      if (grows() || Store::shares) s.store.reserve(shape_, grows() ? most : capacity_ + 1);
    if (!grows()) return;
    s.positions.reserve(tables() * stride(most));
    if constexpr (Policy::has_meta) s.meta.reserve(tables() * stride(most));
    if constexpr (Policy::reads_attention) s.workspace.reserve(rules_.heads * most);
  }

  // k [lists d_key], v [lists d_value]: the newest token's entries.
  void append(state& s, const T* k, const T* v) const noexcept {
    const index_t slot = s.size;
    resize(s, slot + 1);
    ++s.newest;
    for (index_t list = 0; list < shape_.lists; ++list)
      s.store.write(shape_, list, slot, k + list * shape_.d_key, v + list * shape_.d_value);
    for (index_t table = 0; table < tables(); ++table) {
      s.positions[at(s, table, slot)] = s.newest;
      if constexpr (evict::StartsFromEntry<Policy>)
        s.meta[at(s, table, slot)] =
            Policy::first(row_view<const T>(k + table * shape_.d_key, rules_.d_head),
                          row_view<const T>(v + table * shape_.d_value, shape_.d_value));
    }
  }
  // Positions of the live entries of every list, or of one table for all: [tables, size].
  mat_view<const index_t> positions(const state& s) const noexcept {
    return {s.positions.data(), tables(), s.size, stride(s.size)};
  }
  // The live slots of a table in ascending position.
  void sort(const state& s, index_t table, row_view<index_t> slots) const noexcept {
    std::iota(slots.begin(), slots.end(), index_t{0});
    const index_t* p = s.positions.data() + at(s, table, 0);
    const auto older = [p](index_t a, index_t b) { return p[a] < p[b]; };
    if (!std::is_sorted(slots.begin(), slots.end(), older)) std::sort(slots.begin(), slots.end(), older);
  }
  // The place of every live entry among those of its table: [tables, size]; no rows where it is the slot.
  mat_view<const index_t> ranks(context& ctx, context::frame& scratch, const state& s) const noexcept {
    if (grows()) return {};
    const auto all = scratch.template mat<index_t>(tables(), slots_to_prepare(ctx, s));
    context::frame inner(ctx);
    const auto slots = inner.template row<index_t>(slots_to_prepare(ctx, s)).sub(0, s.size);
    for (index_t table = 0; table < tables(); ++table) {
      sort(s, table, slots);
      for (index_t rank = 0; rank < s.size; ++rank) all[table][slots[rank]] = rank;
    }
    return {all.data(), all.rows(), s.size, all.stride()};
  }
  // Positions of the live entries of a list, in slot order.
  std::vector<index_t> live(const state& s, index_t list) const {
    std::vector<index_t> p;
    for (index_t slot = 0; slot < s.size; ++slot)
      p.push_back(Policy::bounded ? s.positions[at(s, per_list ? list : 0, slot)] : slot);
    return p;
  }
  // Whether the parts of a state (of a file, say, which may claim anything) belong together.
  bool valid(const state& s) const {
    constexpr index_t last = std::numeric_limits<index_t>::max() / 2;  // positions go on counting
    if (s.newest < -1 || s.newest > last) return false;
    const index_t tokens = s.newest + 1, kept = Policy::bounded ? std::min(tokens, capacity_) : tokens;
    if (kept > s.size || s.size > (Policy::bounded && grows() ? tokens : kept)) return false;
    if (!s.store.holds(shape_, grows() ? s.size : capacity_ + 1, tokens - s.size)) return false;
    if (s.positions.size() != tables() * stride(s.size)) return false;
    if (s.meta.size() != (Policy::has_meta ? s.positions.size() : 0)) return false;
    if (s.queries.size() != rules_.heads * query_memory() || s.workspace.size() != 0) return false;
    return std::all_of(s.positions.begin(), s.positions.end(),
                       [&](index_t p) { return p >= 0 && p <= std::max<index_t>(s.newest, 0); });
  }

  static constexpr bool resizable = requires(Store& s, const kv_shape& shape) { s.resize(shape, index_t{}); };

 protected:
  static constexpr bool per_list = Policy::where == evict::scope::list;
  index_t tables() const { return !Policy::bounded ? 0 : per_list ? shape_.lists : 1; }
  // Slots from one table to the next: of lists that grow a function of their size, so that equal states are
  // laid out equally and most tokens move nothing.
  index_t stride(index_t size) const {
    if (!grows()) return capacity_ + 1;
    return size == 0
               ? 0
               : static_cast<index_t>(std::bit_ceil(static_cast<std::uint64_t>(std::max<index_t>(size, 16))));
  }
  index_t at(const state& s, index_t table, index_t slot) const { return table * stride(s.size) + slot; }
  index_t query_memory() const {
    if constexpr (evict::ReadsQueries<Policy>)
      return Policy::query_memory(rules_.d_head, capacity_);
    else
      return 0;
  }
  // Entries to size scratch for: while a context is prepared as many as there may ever be.
  index_t slots_to_prepare(const context& ctx, const state& s) const {
    return ctx.preparing ? capacity_ + 1 : s.size;
  }
  evict::moment now(const state& s, index_t size) const { return {s.newest, capacity_, size}; }

  // Slots for n entries.
  void resize(state& s, index_t n) const noexcept {
    if (grows()) {
      if constexpr (resizable) s.store.resize(shape_, n);
      restride(s.positions, stride(s.size), stride(n));
      if constexpr (Policy::has_meta) restride(s.meta, stride(s.size), stride(n));
    }
    s.size = n;
  }
  template <class E>
  void restride(buffer<E>& b, index_t from, index_t to) const noexcept {
    if (to > from) {
      b.resize(tables() * to);
      for (index_t table = tables() - 1; table >= 0; --table) {
        std::copy_backward(b.data() + table * from, b.data() + table * from + from,
                           b.data() + table * to + from);
        std::fill_n(b.data() + table * to + from, to - from, E{});
      }
    } else if (to < from) {
      for (index_t table = 1; table < tables(); ++table)
        std::copy_n(b.data() + table * from, to, b.data() + table * to);
      b.resize(tables() * to);
    }
  }

  kv_shape shape_;
  kv_rules rules_;
  index_t capacity_ = 0;
};

}  // namespace mneme::inline MNEME_ABI
