// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::evict {

// Attention sinks: the first 4 tokens stay, and the newest of the others. A capacity of 4 or less leaves room
// for one newest entry: min(4, capacity - 1) sinks.
// Source: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023, section 3.2.
// The paper numbers keys within the cache: kv_positions::cache; the default numbers them within the stream.
struct sinks {
  static constexpr const char* name = "sinks";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::layer;
  static constexpr index_t count = 4;

  // Entries leave in the order in which they came, but for that many of the first.
  static constexpr index_t pinned(index_t capacity) { return std::min(count, capacity - 1); }

  template <class T>
  static constexpr T score(const entry<T>& e, const moment& m) {
    return e.position < pinned(m.capacity) ? keep_always<T> : T(0);
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
