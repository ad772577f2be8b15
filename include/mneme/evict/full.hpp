// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Keeps everything: the state grows with the stream, the capacity is ignored.
struct full {
  static constexpr const char* name = "full";
  static constexpr bool bounded = false, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::layer;
};

}  // namespace mneme::inline MNEME_ABI::evict
