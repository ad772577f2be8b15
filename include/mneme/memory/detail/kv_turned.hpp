// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../math/rope.hpp"
#include "../../op/attention.hpp"

namespace mneme::inline MNEME_ABI {

// Cosines and sines of the places [0, n): row after row.
template <class T>
buffer<T> rank_angles(const rope& turns, index_t n) {
  buffer<T> tables(n * 2 * turns.pairs());
  for (index_t rank = 0; rank < n; ++rank)
    turns.angles(rank, row_view<T>(tables.view().sub(rank * 2 * turns.pairs(), 2 * turns.pairs())));
  return tables;
}

// How stored keys are turned to their place: nothing to do by default.
template <class T>
struct turned_rows {
  const rope* turns = nullptr;
  row_view<const T> tables = {};       // of the first places; others are worked out
  mat_view<const index_t> ranks = {};  // [lists or 1, size]; no rows: slot i is at place i
};

// The entries of a list with their keys turned to their place.
template <class Rows, class T>
struct turned_entries {
  static constexpr auto type = [] {
    if constexpr (StoredEntries<Rows>)
      return Rows::type;
    else
      return nullptr;
  }();
  template <class U>
  static constexpr bool in_place = false;

  Rows stored;
  turned_rows<T> how;
  index_t list;
  index_t d_key = stored.d_key, d_value = stored.d_value, size = stored.size;

  index_t width() const { return stored.width(); }
  bool as_stored() const { return !how.turns || how.turns->pairs() == 0; }
  const std::byte* key(index_t i) const
    requires StoredEntries<Rows>
  {
    return stored.key(i);
  }
  const std::byte* value(index_t i) const
    requires StoredEntries<Rows>
  {
    return stored.value(i);
  }
  template <class Arch, class U>
  const U* key_row(index_t i, U* scratch) const noexcept {
    const U* key = stored.template key_row<Arch>(i, scratch);
    if (as_stored()) return key;
    if (key != scratch) std::copy_n(key, d_key, scratch);
    const index_t n = 2 * how.turns->pairs(),
                  rank = how.ranks.rows() > 0 ? how.ranks[how.ranks.rows() > 1 ? list : 0][i] : i;
    if ((rank + 1) * n <= how.tables.size())
      how.turns->rotate(how.tables.sub(rank * n, n), scratch);
    else
      how.turns->turn(rank, scratch);
    return scratch;
  }
  template <class Arch, class U>
  const U* value_row(index_t i, U* scratch) const noexcept {
    return stored.template value_row<Arch>(i, scratch);
  }
};
template <class Rows, class T>
turned_entries(Rows, turned_rows<T>, index_t) -> turned_entries<Rows, T>;

}  // namespace mneme::inline MNEME_ABI
