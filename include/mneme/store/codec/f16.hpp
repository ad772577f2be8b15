// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/dtype.hpp"

namespace mneme::inline MNEME_ABI::store {

// Codec: rows stored as IEEE binary16: 2 bytes per channel, error at most 2^-11 of the channel.
struct f16 {
  static constexpr const char* name = "f16";
  static constexpr dtype type = dtype::f16;
};

}  // namespace mneme::inline MNEME_ABI::store
