// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/dtype.hpp"

namespace mneme::inline MNEME_ABI::store {

// Codec: rows stored as bfloat16, the upper half of a float32: 2 bytes per channel, error at most 2^-8 of the
// channel.
struct bf16 {
  static constexpr const char* name = "bf16";
  static constexpr dtype type = dtype::bf16;
};

}  // namespace mneme::inline MNEME_ABI::store
