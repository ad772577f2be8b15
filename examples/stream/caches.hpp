// SPDX-License-Identifier: Apache-2.0
// Every pair of eviction policy and store that the program offers.
#pragma once
#include <span>

#include "llama.hpp"

namespace mneme_stream {

struct cache_kind {
  const char *policy, *store;
  make_attention<float> make;
};
std::span<const cache_kind> cache_kinds();

}  // namespace mneme_stream
