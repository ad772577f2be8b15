// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/dtype.hpp"

namespace mneme::inline MNEME_ABI::store {

// Codec: blocks of 32 channels, x = d q with a binary16 scale d and int8 codes q (ggml's q8_0): 34 bytes per
// block, error at most d / 2 + the rounding of d. A row whose width is no multiple of 32 is padded with
// zeros.
struct q8_0 {
  static constexpr const char* name = "q8_0";
  static constexpr dtype type = dtype::q8_0;
};

}  // namespace mneme::inline MNEME_ABI::store
