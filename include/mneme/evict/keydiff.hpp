// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI::evict {

// Key difference: per key/value head, the entry whose key points most like all others leaves.
//   score_i = -cos(k_i, a)    a = mean_j k_j / |k_j|
// Cost per choice: 4 size d_key flops.
// Source: Park et al., "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in
// Resource-Constrained Environments", 2025, section 3.
struct keydiff {
  static constexpr const char* name = "keydiff";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::list;

  template <class T>
  static void score_list(context& ctx, const list_view<T>& list, const moment&, row_view<T> out) {
    context::frame scratch(ctx);
    const index_t n = list.keys.rows(), d = list.keys.cols();
    const auto anchor = scratch.row<double>(d);
    std::fill(anchor.begin(), anchor.end(), 0.0);
    for (index_t i = 0; i < n; ++i) {
      const double length = std::max(std::sqrt(product(list.keys[i], list.keys[i])), 1e-12);
      for (index_t c = 0; c < d; ++c) anchor[c] += static_cast<double>(list.keys[i][c]) / length;
    }
    const double of_anchor = product(anchor, anchor);
    for (index_t i = 0; i < n; ++i) {
      const double lengths = std::sqrt(product(list.keys[i], list.keys[i]) * of_anchor);
      out[i] = static_cast<T>(lengths > 0 ? -product(list.keys[i], anchor) / lengths : 0);
    }
  }

 private:
  static double product(auto a, auto b) {
    double sum = 0;
    for (index_t c = 0; c < a.size(); ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return sum;
  }
};

}  // namespace mneme::inline MNEME_ABI::evict
