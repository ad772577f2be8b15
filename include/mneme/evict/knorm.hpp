// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI::evict {

// Key norm: per key/value head, the entry whose key is longest leaves. Turning a key keeps its length.
// Source: Devoto et al., "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression", 2024,
// section 3.
struct knorm {
  static constexpr const char* name = "knorm";
  static constexpr bool bounded = true, reads_attention = false, has_meta = true;
  static constexpr scope where = scope::list;

  template <class T>
  static T first(row_view<const T> key, row_view<const T>) {
    T squares = 0;
    for (const T k : key) squares = simd::fma(k, k, squares);
    return -std::sqrt(squares);
  }
  template <class T>
  static constexpr T score(const entry<T>& e, const moment&) {
    return e.meta;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
