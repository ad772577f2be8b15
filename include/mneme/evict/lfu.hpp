// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Least frequently used: per key/value head, the entry with the fewest hits. A hit is attention (mean over
// the query heads of the group) of at least an even share, 1 / size. The newest token stays: it had no time
// to be hit.
struct lfu {
  static constexpr const char* name = "lfu";
  static constexpr bool bounded = true, reads_attention = true, has_meta = true;
  static constexpr scope where = scope::list;

  template <class T>
  static constexpr T updated(T hits, T received, const moment& m) {
    return received * static_cast<T>(m.size) >= T(1) ? hits + T(1) : hits;
  }
  template <class T>
  static constexpr T score(const entry<T>& e, const moment& m) {
    return e.position == m.newest ? keep_always<T> : e.meta;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
