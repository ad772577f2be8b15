// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "detail/query_moments.hpp"
#include "policy.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::evict {

// Expected attention: per key/value head, the entries to which the queries to come will attend least, if
// those are normal with the mean mu and covariance S of the queries so far, turned to the next `Future`
// positions (R).
//   z_i = k_i . R mu / sqrt(d) + k_i . R S R' k_i / (2 d)
//   score_i = mean over the group of softmax_i(z) |v_i|
// The first 4 tokens stay, and neither their queries nor their keys count.
// Made for trigger::segment. Cost per token: 4 heads d^2; per choice: 2 heads size d^2 flops. State: heads (d
// + d^2).
// Source: Devoto et al., "Expected Attention: KV Cache Compression by Estimating Attention from Future
// Queries Distribution", 2025, section 3. Deviation: the published code turns mu and S, this one k_i the
// other way.
template <index_t Future>
struct expected_attention_for {
  static constexpr const char* name = "expected_attention";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::list;
  static constexpr queries reads = queries::plain;

  static constexpr index_t query_memory(index_t d, index_t) { return d + d * d; }
  template <class T>
  static constexpr void observe(row_view<T> memory, row_view<const T> query, const moment& m) {
    if (m.newest >= 4) detail::add_to_moments(memory, query, m.newest - 3);
  }
  template <class T>
  static void score_list(context& ctx, const list_view<T>& list, const moment& m, row_view<T> out) {
    context::frame scratch(ctx);
    const index_t n = out.size(), d = list.keys.cols(), sinks = std::min<index_t>(4, m.capacity - 1);
    const index_t first =
        std::lower_bound(list.positions.begin(), list.positions.end(), 4) - list.positions.begin();
    const auto back = scratch.row<T>(2 * list.turns.pairs()), key = scratch.row<T>(d);
    const auto z = scratch.row<double>(n);
    list.turns.template mean_angles<T>(m.newest + 1, Future, back);
    for (index_t i = 1; i < back.size(); i += 2) back[i] = -back[i];
    std::fill(out.begin(), out.end(), T(0));
    for (index_t h = 0; h < list.queries.rows(); ++h) {
      double highest = -std::numeric_limits<double>::infinity(), total = 0;
      for (index_t i = first; i < n; ++i) {
        std::copy_n(list.keys[i].begin(), d, key.begin());
        list.turns.template rotate<T>(back, key.data());
        highest = std::max(highest, z[i] = detail::expected_exponent<T>(list.queries[h], key));
      }
      for (index_t i = first; i < n; ++i) total += z[i] = std::exp(z[i] - highest);
      for (index_t i = first; i < n; ++i) out[i] += static_cast<T>(z[i] / total);
    }
    for (index_t i = 0; i < n; ++i) {
      double squares = 0;
      for (const T v : list.values[i]) squares += static_cast<double>(v) * static_cast<double>(v);
      out[i] = list.positions[i] < sinks ? keep_always<T> : out[i] * static_cast<T>(std::sqrt(squares));
    }
  }
};
using expected_attention = expected_attention_for<512>;

}  // namespace mneme::inline MNEME_ABI::evict
