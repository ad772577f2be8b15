// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "policy.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI::evict {

// Observation window: per key/value head, the entries that the newest `Window` queries attend to least leave.
//   a_i = mean over those queries and the heads of the group of softmax_i(q . k / sqrt(d)), causal
//   score_i = sum_{|j - i| <= Pool / 2} a_j / Pool over the entries before the window, which itself stays
// Made for trigger::segment. Cost per choice: 2 heads Window size d flops; state: heads Window d numbers.
// Source: Li et al., "SnapKV: LLM Knows What You Are Looking for Before Generation", 2024, section 4;
// averaged over the group as in the authors' later code. Deviation: of a small cache the window is at most
// half.
template <index_t Window, index_t Pool>
struct snapkv_of {
  static constexpr const char* name = "snapkv";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::list;
  static constexpr queries reads = queries::turned;

  static constexpr index_t window(index_t capacity) { return std::clamp<index_t>(capacity / 2, 1, Window); }
  static constexpr index_t query_memory(index_t d, index_t capacity) { return window(capacity) * d; }
  template <class T>  // a ring: the query of position p lies in row p mod window
  static void observe(row_view<T> memory, row_view<const T> query, const moment& m) {
    std::copy(query.begin(), query.end(), memory.begin() + m.newest % window(m.capacity) * query.size());
  }
  template <class T>
  static void score_list(context& ctx, const list_view<T>& list, const moment& m, row_view<T> out) {
    context::frame scratch(ctx);
    const index_t n = out.size(), d = list.keys.cols(), w = window(m.capacity);
    const index_t before = std::lower_bound(list.positions.begin(), list.positions.end(), m.newest - w + 1) -
                           list.positions.begin();
    const auto p = scratch.row<double>(n), attention = scratch.row<double>(n);
    std::fill(attention.begin(), attention.end(), 0.0);
    for (index_t h = 0; h < list.queries.rows(); ++h)
      for (index_t at = std::max<index_t>(m.newest - w + 1, 0); at <= m.newest; ++at) {
        const auto q = list.queries[h].sub(at % w * d, d);
        index_t seen = 0;
        double highest = -std::numeric_limits<double>::infinity(), total = 0;
        for (; seen < n && list.positions[seen] <= at; ++seen) {
          p[seen] = 0;
          for (index_t c = 0; c < d; ++c)
            p[seen] += static_cast<double>(q[c]) * static_cast<double>(list.keys[seen][c]);
          highest = std::max(highest, p[seen] /= std::sqrt(static_cast<double>(d)));
        }
        for (index_t i = 0; i < seen; ++i) total += p[i] = std::exp(p[i] - highest);
        for (index_t i = 0; i < std::min(seen, before); ++i) attention[i] += p[i] / total;
      }
    for (index_t i = 0; i < n; ++i) {
      double pooled = 0;
      for (index_t j = std::max<index_t>(i - Pool / 2, 0); j < std::min(i + Pool / 2 + 1, before); ++j)
        pooled += attention[j];
      out[i] = i < before ? static_cast<T>(pooled) : keep_always<T>;
    }
  }
};
using snapkv = snapkv_of<64, 5>;

}  // namespace mneme::inline MNEME_ABI::evict
