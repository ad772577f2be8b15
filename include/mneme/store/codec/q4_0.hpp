// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/dtype.hpp"

namespace mneme::inline MNEME_ABI::store {

// Codec: blocks of 32 channels, x = d (q - 8) with a binary16 scale d and codes q of 4 bits (ggml's q4_0): 18
// bytes per block. d = x_m / -8 for the channel x_m of largest magnitude; error at most |d| + the rounding of
// d, reached where the sign is opposite to that of x_m. A row whose width is no multiple of 32 is padded with
// zeros.
struct q4_0 {
  static constexpr const char* name = "q4_0";
  static constexpr dtype type = dtype::q4_0;
};

}  // namespace mneme::inline MNEME_ABI::store
