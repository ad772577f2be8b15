// SPDX-License-Identifier: Apache-2.0
// touched_rows: what a stream has added to a few rows of a large table.
#pragma once
#include "../../core/buffer.hpp"

#include <bit>

namespace mneme::inline MNEME_ABI::detail {

// The touched rows in the order in which they were first touched, and a hash table that finds them. Its size
// follows from their number, a row's slot from the rows before it: equal histories, equal bits.
template <class T>
struct touched_rows {
  buffer<index_t> rows;  // [count]
  buffer<T> delta;       // [count, width]
  buffer<index_t>
      index;  // [0, or the power of two from 2 count on]: 1 + place of a row, or 0; linear probing

  friend bool operator==(const touched_rows&, const touched_rows&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("rows", s.rows...);
    f("delta", s.delta...);
    f("index", s.index...);
  }
  static touched_rows none(place where) {
    return {buffer<index_t>(0, 0, where), buffer<T>(0, T(0), where), buffer<index_t>(0, 0, where)};
  }

  index_t count() const { return rows.size(); }
  // What was added to a row, or null.
  const T* find(index_t row, index_t width) const noexcept {
    if (index.size() == 0) return nullptr;
    const index_t place = index[slot_of(row)];
    return place == 0 ? nullptr : delta.data() + (place - 1) * width;
  }
  // The same to add more: zeros at first.
  T* touch(index_t row, index_t width) {
    if (const T* found = find(row, width)) return const_cast<T*>(found);
    rows.resize(count() + 1);
    rows[count() - 1] = row;
    delta.resize(count() * width);
    if (slots_for(count()) == index.size()) {
      index[slot_of(row)] = count();
    } else {
      index.resize(slots_for(count()));
      std::fill(index.begin(), index.end(), index_t{0});
      for (index_t i = 0; i < count(); ++i) index[slot_of(rows[i])] = i + 1;
    }
    return delta.data() + (count() - 1) * width;
  }
  // Room for `most` rows without a further allocation.
  void reserve(index_t most, index_t width) {
    rows.reserve(most);
    delta.reserve(most * width);
    index.reserve(slots_for(most));
  }
  // Whether the parts belong together, for a table of `table_rows` rows: asked of states that come from
  // files.
  bool valid(index_t table_rows, index_t width) const {
    if (count() > table_rows || delta.size() != count() * width || index.size() != slots_for(count()))
      return false;
    index_t used = 0;
    for (const index_t place : index) {
      if (place < 0 || place > count()) return false;
      used += place > 0;
    }
    if (used != count()) return false;
    for (index_t i = 0; i < count(); ++i)
      if (rows[i] < 0 || rows[i] >= table_rows || index[slot_of(rows[i])] != i + 1) return false;
    return true;
  }

 private:
  static index_t slots_for(index_t count) {
    return count == 0 ? 0 : static_cast<index_t>(std::bit_ceil(2 * static_cast<std::size_t>(count)));
  }
  // Where the row stands, or the free slot where it belongs; at least half of all slots are free.
  index_t slot_of(index_t row) const noexcept {
    const index_t mask = index.size() - 1;
    const int kept = std::countr_zero(static_cast<std::uint64_t>(index.size()));
    auto slot =
        static_cast<index_t>((static_cast<std::uint64_t>(row) * 0x9e3779b97f4a7c15ull) >> (64 - kept));
    while (index[slot] != 0 && rows[index[slot] - 1] != row) slot = (slot + 1) & mask;
    return slot;
  }
};

}  // namespace mneme::inline MNEME_ABI::detail
