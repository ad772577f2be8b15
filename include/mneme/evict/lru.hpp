// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Least recently used: per key/value head, the entry whose last hit is longest ago. A hit is attention (mean
// over the query heads of the group) of at least an even share, 1 / size; the first is the entry's own token.
struct lru {
  static constexpr const char* name = "lru";
  static constexpr bool bounded = true, reads_attention = true, has_meta = true;
  static constexpr scope where = scope::list;

  template <class T>
  static T first(row_view<const T>, row_view<const T>) {
    return T(-1);  // the newest token makes it 0, hit or not
  }
  // Tokens since the last hit.
  template <class T>
  static constexpr T updated(T age, T received, const moment& m) {
    return received * static_cast<T>(m.size) >= T(1) ? T(0) : age + T(1);
  }
  template <class T>
  static constexpr T score(const entry<T>& e, const moment&) {
    return -e.meta;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
