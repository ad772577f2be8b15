// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../fwd.hpp"

namespace mneme::inline MNEME_ABI {

// Asks for n elements, to arrive in the cache of that level (1, 2) while something else is done. Inlined by
// force, and of no use inside a lambda: gcc drops calls of functions that only prefetch.
template <int Level, class T>
[[gnu::always_inline]] inline void ask_for(const T* p, index_t n) noexcept {
  constexpr index_t line = index_t{64 / sizeof(T)};
  for (index_t i = 0; i < n; i += line) __builtin_prefetch(p + i, 0, 4 - Level);
}

}  // namespace mneme::inline MNEME_ABI
