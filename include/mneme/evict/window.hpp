// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Sliding window: the newest `capacity` entries. All scores are equal, so the oldest leaves.
// Source: Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, section 3.1.
struct window {
  static constexpr const char* name = "window";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::layer;

  // Entries leave in the order in which they came, but for that many of the first.
  static constexpr index_t pinned(index_t) { return 0; }

  template <class T>
  static constexpr T score(const entry<T>&, const moment&) {
    return T(0);
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
