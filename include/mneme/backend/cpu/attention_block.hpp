// SPDX-License-Identifier: Apache-2.0
// A block of stored entries of several lists, read in the order of memory.
#pragma once
#include "../../math/prefetch.hpp"
#include "../../op/attention.hpp"
#include "attention_tile.hpp"

namespace mneme::inline MNEME_ABI::detail {

template <class E>
constexpr index_t stored_bytes(index_t d) {
  return row_bytes(E::type, stored_row<E::type>::padded(d));
}

// Caches keep the rows of all lists for an entry side by side. The lists take turns every few entries, first
// for keys, then for values, so that few pages are in use at a time; meanwhile the next few entries are asked
// for from end to end.
template <class Rows, class T, class E>
class block_of_lists {
 public:
  static constexpr index_t most = 64, fewest = 16;  // entries of a block, and of a turn
  static constexpr index_t page = 4096, beyond_caches = 8 << 20;

  block_of_lists(row_view<const E> lists, index_t from, index_t to, index_t next_to)
      : lists_(lists),
        from_(from),
        to_(to),
        next_to_(next_to),
        turn_(turn()),
        key_bytes_(stored_bytes<E>(lists[0].d_key)),
        value_bytes_(stored_bytes<E>(lists[0].d_value)) {}
  // scores[.][i], i < to - from, of all heads.
  template <class Tile>
  void score(mat_view<const T> Q, T scale, mat_view<T> scores) noexcept {
    const index_t G = Q.rows() / lists_.size(), d = lists_[0].d_key;
    const auto steps = [&](index_t n) { return Tile::template steps_of_score<Rows, T>(G, n, d); };
    in_turns<true>(steps, [&](index_t list, index_t i, index_t n, const Rows& keys, lines_ahead& next) {
      const auto s = scores.range(list * G, (list + 1) * G).columns(i, most - i);
      Tile::in_fours(G, [&]<int N>(index_t g) {
        Tile::template score<N>(Q.range(list * G, (list + 1) * G), g, keys, n, d, scale, s, next);
      });
    });
  }
  // O += weights V.
  template <class Tile>
  void collect(mat_view<const T> weights, mat_view<T> O) noexcept {
    const index_t G = O.rows() / lists_.size(), d = lists_[0].d_value;
    const auto steps = [&](index_t n) { return Tile::template steps_of_collect<T>(G, n, d); };
    in_turns<false>(steps, [&](index_t list, index_t i, index_t n, const Rows& values, lines_ahead& next) {
      const auto w = weights.range(list * G, (list + 1) * G).columns(i, most - i);
      Tile::in_fours(G, [&]<int N>(index_t g) {
        Tile::template collect<N>(w, g, values, n, O.range(list * G, (list + 1) * G), next);
      });
    });
  }

 private:
  // f(list, i, n, rows, next) for n entries from entry i of the block on, of every list in turn. Asked for
  // meanwhile: the next turn, behind the last one of keys the block's values, behind that of values the keys
  // of the next block.
  template <bool Key, class Steps, class F>
  void in_turns(Steps&& steps_of, F&& f) noexcept {
    for (index_t at = from_; at < to_; at += turn_) {
      const index_t n = std::min(turn_, to_ - at), steps = steps_of(n);
      for (index_t list = 0; list < lists_.size(); ++list) {
        lines_ahead next = at + n < to_ ? ahead<Key>(list, at + n, to_, turn_, steps)
                           : Key        ? ahead<false>(list, from_, to_, turn_, steps)
                                        : ahead<true>(list, to_, next_to_, turn_, steps);
        f(list, at - from_, n, rows<Key>(list, at, n), next);
      }
    }
  }
  template <bool Key>
  const std::byte* stored(index_t list, index_t i) const {
    return Key ? lists_[list].key(i) : lists_[list].value(i);
  }
  template <bool Key>
  static std::uintptr_t address(const E& kv, index_t i) {
    return reinterpret_cast<std::uintptr_t>(Key ? kv.key(i) : kv.value(i));
  }
  // Entries of a turn. Where memory is what binds, few: a processor follows some sixteen pages at a time.
  index_t turn() const {
    if (!std::is_same_v<Rows, plain_rows<T>> || to_ - from_ < 2) return most;
    const auto entry =
        static_cast<index_t>(address<true>(lists_[0], from_ + 1) - address<true>(lists_[0], from_));
    return entry > page / 2 && entry * lists_[0].size > beyond_caches ? fewest : most;
  }
  // What to ask for during the turn of a list: its share of the entries [from, min(from + n, to)).
  template <bool Key>
  lines_ahead ahead(index_t list, index_t from, index_t to, index_t n, index_t steps) noexcept {
    const index_t L = lists_.size(), bytes = Key ? key_bytes_ : value_bytes_;
    n = std::clamp<index_t>(to - from, 0, n);
    if (n == 0) return {};
    const bool side_by_side = address<Key>(lists_[L - 1], from) - address<Key>(lists_[0], from) ==
                              static_cast<std::uintptr_t>((L - 1) * bytes);
    const index_t first = side_by_side ? list * n / L : 0, last = side_by_side ? (list + 1) * n / L : n;
    const index_t of = side_by_side ? 0 : list;
    for (index_t i = first; i < last; ++i) asked_[i - first] = stored<Key>(of, from + i);
    return lines_ahead(asked_, last - first, side_by_side ? L * bytes : bytes, steps);
  }
  template <bool Key>
  Rows rows(index_t list, index_t from, index_t n) noexcept {
    for (index_t i = 0; i < n; ++i) rows_[i] = stored<Key>(list, from + i);
    std::fill(rows_ + n, rows_ + (n + fewest - 1) / fewest * fewest, rows_[n - 1]);  // tiles are whole
    return {rows_};
  }

  row_view<const E> lists_;
  index_t from_, to_, next_to_, turn_, key_bytes_, value_bytes_;
  const void* rows_[most];
  const std::byte* asked_[most];
};

}  // namespace mneme::inline MNEME_ABI::detail
