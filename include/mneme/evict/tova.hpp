// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

namespace mneme::inline MNEME_ABI::evict {

// Token omission via attention: the entry to which the newest query, averaged over all heads of the layer,
// attends least. Nothing is protected, not even the newest token.
// Source: Oren et al., "Transformers are Multi-State RNNs", 2024, section 3.2.
struct tova {
  static constexpr const char* name = "tova";
  static constexpr bool bounded = true, reads_attention = true, has_meta = true;
  static constexpr scope where = scope::layer;

  template <class T>
  static constexpr T updated(T, T received) {
    return received;
  }
  template <class T>
  static constexpr T score(const entry<T>& e, const moment&) {
    return e.meta;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
