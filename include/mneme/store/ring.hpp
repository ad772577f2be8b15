// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "contiguous.hpp"

#include <cassert>

namespace mneme::inline MNEME_ABI::store {

// Where the entries of a list lie. The oldest `pinned` stand in front; of the others, the one of position p
// (counted without those) is in place p mod turn. A cache numbers its entries 0, 1, .. : entry i >= pinned is
// at distance (i - pinned - left) mod (turn - 1) from the oldest, after `left` have left; the last entry is
// the newest.
struct ring_order {
  index_t pinned, turn, left;

  index_t place(index_t i) const {
    const index_t j = i - pinned, oldest = left % std::max<index_t>(turn - 1, 1);
    if (j < 0) return i;
    const index_t behind = j >= oldest ? j - oldest : j - oldest + turn - 1;
    const index_t at = left % turn + (j == turn - 1 ? j : behind);
    return pinned + (at < turn ? at : at - turn);
  }
};

// Entries of one list in that order.
template <dtype D>
struct ring_rows {
  static constexpr dtype type = D;
  template <class T>
  static constexpr bool in_place = stored_row<D>::template in_place<T>;

  kv_rows<D> places;
  ring_order order;
  index_t d_key, d_value, size;

  index_t width() const { return places.width(); }
  const std::byte* key(index_t i) const { return places.key(order.place(i)); }
  const std::byte* value(index_t i) const { return places.value(order.place(i)); }
  template <class Arch, class T>
  const T* key_row(index_t i, T* scratch) const noexcept {
    return places.template key_row<Arch>(order.place(i), scratch);
  }
  template <class Arch, class T>
  const T* value_row(index_t i, T* scratch) const noexcept {
    return places.template value_row<Arch>(order.place(i), scratch);
  }
};

// Layout: slot = position mod capacity + 1, for policies that let the oldest entry go, but for some pinned
// first ones.
// An entry stays where it was written; the one that leaves makes room for the next.
//   slots   [pinned + turn][lists], as in contiguous      left  [lists] entries that have left
template <class Codec>
struct ring {
  using codec = Codec;
  static constexpr const char* name = "ring";
  static constexpr double rounding = storage_rounding(Codec::type);
  static constexpr bool shares = false;
  template <class Policy>
  static constexpr bool legal = requires(index_t capacity) { Policy::pinned(capacity); };

  contiguous<Codec> slots;
  buffer<index_t> left;

  friend bool operator==(const ring&, const ring&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("slots", s.slots...);
    f("left", s.left...);
  }

  static ring with_slots(const kv_shape& shape, index_t n, place where) {
    return {contiguous<Codec>::with_slots(shape, n, where), buffer<index_t>(shape.lists, 0, where)};
  }
  bool holds(const kv_shape& shape, index_t n, index_t dropped) const {
    return slots.holds(shape, n) && left.size() == shape.lists &&
           std::all_of(left.begin(), left.end(), [=](index_t l) { return l == dropped; });
  }

  template <class T>
  void write(const kv_shape& shape, index_t list, index_t slot, const T* key, const T* value) noexcept {
    slots.write(shape, list, order(shape, list).place(slot), key, value);
  }
  // The oldest entry but for the pinned, `to`, leaves; the newest, `from`, is now called that.
  void move(const kv_shape& shape, index_t list, [[maybe_unused]] index_t from, index_t to) noexcept {
    const ring_order now = order(shape, list);
    assert(from == slots.slots(shape) - 1 && to == now.pinned + now.left % (now.turn - 1));
    slots.move(shape, list, now.place(to), now.place(to));
    ++left[list];
  }
  ring_rows<Codec::type> rows(const kv_shape& shape, index_t list, index_t n) const noexcept {
    return {slots.rows(shape, list, n), order(shape, list), shape.d_key, shape.d_value, n};
  }

 private:
  ring_order order(const kv_shape& shape, index_t list) const {
    return {shape.pinned, slots.slots(shape) - shape.pinned, left[list]};
  }
};

}  // namespace mneme::inline MNEME_ABI::store
