// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/context.hpp"
#include "../../core/fields.hpp"
#include "../../store/contiguous.hpp"
#include "../../evict/policy.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace mneme::inline MNEME_ABI {

// The state of one layer's cache.
//   store       keys and values; live entries are slots [0, size) of every list
//   positions   [tables][capacity + 1] absolute positions; a table per list, or one where all lists agree. Empty when
//               nothing is ever evicted: then the slot is the position
//   meta        [lists][capacity + 1] what the policy remembers; empty where it remembers nothing
template <class T, class Store>
struct kv_state {
  Store store;
  buffer<index_t> positions;
  buffer<T> meta;
  index_t size = 0;     // live entries per list
  index_t newest = -1;  // position of the newest token; the next one is newest + 1

  friend bool operator==(const kv_state&, const kv_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("store", s.store...);
    f("positions", s.positions...);
    f("meta", s.meta...);
    f("size", s.size...);
    f("newest", s.newest...);
  }
};

// Store and policy together: append one entry to every list, then let one go if more than `capacity` are live. The
// newest entry takes the victim's slot, so that live slots have no holes and the layout depends on the token history
// alone; dead slots are zero.
template <class T, class Policy, class Store>
class kv_cache {
 public:
  using state = kv_state<T, Store>;

  kv_cache() = default;
  // Precondition: capacity >= 1 if the policy is bounded.
  kv_cache(kv_shape shape, index_t capacity) : shape_(shape), capacity_(Policy::bounded ? capacity : 0) {}

  const kv_shape& shape() const { return shape_; }

  state init(place where) const {
    const index_t slots = Policy::bounded ? capacity_ + 1 : 0;
    return {Store::with_slots(shape_, slots, where), buffer<index_t>(tables() * slots, 0, where),
            buffer<T>(Policy::has_meta ? shape_.lists * slots : 0, T(0), where), 0, -1};
  }
  // Room for n more entries; bounded caches have theirs.
  void reserve(state& s, index_t n) const {
    if constexpr (!Policy::bounded) s.store.reserve(shape_, s.size + n);
  }

  // k [lists d_key], v [lists d_value]: the newest token's entries.
  void append(state& s, const T* k, const T* v) const noexcept {
    const index_t slot = s.size++;
    ++s.newest;
    if constexpr (!Policy::bounded) s.store.resize(shape_, s.size);
    for (index_t list = 0; list < shape_.lists; ++list)
      s.store.write(shape_, list, slot, k + list * shape_.d_key, v + list * shape_.d_value);
    for (index_t table = 0; table < tables(); ++table) s.positions[at(table, slot)] = s.newest;
  }
  // After the newest token attended; P [heads, size] is its attention, or has no rows if the policy does not read it.
  void evict(context& ctx, state& s, mat_view<const T> P) const noexcept {
    if constexpr (Policy::bounded) {
      context::frame scratch(ctx);
      const auto received = scratch.template row<T>(s.size);
      for (index_t table = 0; table < tables(); ++table) {
        receive(table, P, received);
        remember(s, table, received);
        if (s.size > capacity_) drop(ctx, s, table, victim(s, table, received));
      }
      s.size = std::min(s.size, capacity_);
    }
  }

  // Positions of the live entries of a list, in slot order.
  std::vector<index_t> live(const state& s, index_t list) const {
    std::vector<index_t> p;
    for (index_t slot = 0; slot < s.size; ++slot) p.push_back(Policy::bounded ? s.positions[at(list, slot)] : slot);
    return p;
  }
  // Whether the parts of a state (of a file, say, which may claim anything) belong together.
  bool valid(const state& s) const {
    constexpr index_t last = std::numeric_limits<index_t>::max() / 2;  // positions go on counting
    if (s.newest < -1 || s.newest > last) return false;
    if (s.size != (Policy::bounded ? std::min(s.newest + 1, capacity_) : s.newest + 1)) return false;
    const index_t slots = Policy::bounded ? capacity_ + 1 : 0;
    if (s.positions.size() != tables() * slots) return false;
    if (s.meta.size() != (Policy::has_meta ? shape_.lists * slots : 0)) return false;
    for (index_t p : s.positions)
      if (p < 0 || p > std::max<index_t>(s.newest, 0)) return false;
    return s.store.holds(shape_, Policy::bounded ? slots : s.size);
  }

 private:
  static constexpr bool per_list = Policy::where == evict::scope::list;
  index_t tables() const { return !Policy::bounded ? 0 : per_list ? shape_.lists : 1; }
  index_t at(index_t table, index_t slot) const { return (per_list ? table : 0) * (capacity_ + 1) + slot; }

  // Mean attention over the query heads of the scope, entry by entry.
  void receive(index_t table, mat_view<const T> P, row_view<T> received) const noexcept {
    std::fill(received.begin(), received.end(), T(0));
    if constexpr (Policy::reads_attention) {
      const index_t heads = per_list ? P.rows() / shape_.lists : P.rows(), from = per_list ? table * heads : 0;
      for (index_t h = 0; h < heads; ++h)
        for (index_t i = 0; i < received.size(); ++i) received[i] += P[from + h][i];
      for (T& r : received) r /= static_cast<T>(heads);
    }
  }
  void remember(state& s, index_t table, row_view<const T> received) const noexcept {
    if constexpr (Policy::has_meta)
      for (index_t i = 0; i < received.size(); ++i)
        s.meta[at(table, i)] = Policy::updated(s.meta[at(table, i)], received[i]);
  }
  // The slot of the lowest score; among equal scores the oldest entry.
  index_t victim(const state& s, index_t table, row_view<const T> received) const noexcept {
    const evict::moment now{s.newest, capacity_};
    index_t worst = 0;
    T lowest{};
    for (index_t i = 0; i < s.size; ++i) {
      const index_t position = s.positions[at(table, i)];
      const T score = Policy::score(
          evict::entry<T>{position, Policy::has_meta ? s.meta[at(table, i)] : T(0), received[i]}, now);
      if (i == 0 || score < lowest || (score == lowest && position < s.positions[at(table, worst)])) {
        worst = i;
        lowest = score;
      }
    }
    return worst;
  }
  void drop(context& ctx, state& s, index_t table, index_t slot) const noexcept {
    const index_t last = s.size - 1;
    const index_t first_list = per_list ? table : 0, end = per_list ? table + 1 : shape_.lists;
    for (index_t list = first_list; list < end; ++list) {
      if (ctx.on_eviction) tell(ctx, s, list, slot, s.positions[at(table, slot)]);
      s.store.move(shape_, list, last, slot);
    }
    s.positions[at(table, slot)] = s.positions[at(table, last)];
    s.positions[at(table, last)] = 0;
    if constexpr (Policy::has_meta) {
      s.meta[at(table, slot)] = s.meta[at(table, last)];
      s.meta[at(table, last)] = T(0);
    }
  }
  void tell(context& ctx, const state& s, index_t list, index_t slot, index_t position) const noexcept {
    context::frame scratch(ctx);
    const auto rows = s.store.rows(shape_, list, s.size);
    const auto key = scratch.template row<float>(rows.padded(shape_.d_key));
    const auto value = scratch.template row<float>(rows.padded(shape_.d_value));
    decode_row<Store::codec::type, simd::scalar>(rows.key(slot), key.size(), key.data());
    decode_row<Store::codec::type, simd::scalar>(rows.value(slot), value.size(), value.data());
    ctx.on_eviction->evicted(ctx.on_eviction->self, {Policy::name, list, position, key.sub(0, shape_.d_key),
                                                     value.sub(0, shape_.d_value)});
  }

  kv_shape shape_;
  index_t capacity_ = 0;
};

}  // namespace mneme::inline MNEME_ABI
