// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

#include "../math/random.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Which entries stay is drawn: per key/value head, `capacity` of all tokens so far, each set with equal
// probability.
// The score of an entry is a hash of seed, list and position. The baseline: a policy that does not beat it is
// none.
template <std::uint64_t Seed>
struct random_from {
  static constexpr const char* name = "random";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::list;

  template <class T>
  static T score(const entry<T>& e, const moment&) {
    random_stream draw(Seed + static_cast<std::uint64_t>(e.list), static_cast<std::uint64_t>(e.position));
    return static_cast<T>(draw.bits() >> 40);  // 24 bits: the same number in every T
  }
};
using random = random_from<0>;

}  // namespace mneme::inline MNEME_ABI::evict
