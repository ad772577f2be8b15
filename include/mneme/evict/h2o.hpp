// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Heavy hitters: per key/value head, the entries that received most attention so far (mean over the query
// heads of the group, summed over time); the newest floor(capacity / 2) are protected.
// Source: Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language
// Models", 2023, algorithm 1.
struct h2o {
  static constexpr const char* name = "h2o";
  static constexpr bool bounded = true, reads_attention = true, has_meta = true;
  static constexpr scope where = scope::list;

  template <class T>
  static constexpr T updated(T mass, T received) {
    return mass + received;
  }
  template <class T>
  static constexpr T score(const entry<T>& e, const moment& m) {
    return e.position > m.newest - m.capacity / 2 ? keep_always<T> : e.meta;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
