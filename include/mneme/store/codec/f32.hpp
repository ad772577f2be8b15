// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../core/dtype.hpp"

namespace mneme::inline MNEME_ABI::store {

// Codec: rows stored as float32.
struct f32 {
  static constexpr const char* name = "f32";
  static constexpr dtype type = dtype::f32;
};

}  // namespace mneme::inline MNEME_ABI::store
