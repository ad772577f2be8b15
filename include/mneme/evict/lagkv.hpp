// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "detail/lag_spread.hpp"
#include "policy.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI::evict {

// Lag-relative information: per key/value head, entries after the first 4 form partitions of `lag`
// neighbours; in each, those leave first that spread least over channels, seen on the scale of the next
// partition.
//   u_i = deviation over channels of (x_ic - min_c) / (max_c - min_c), min and max over the next partition
//   score_i = rank of softmax(u of keys)_i + softmax(u of values)_i within the partition / lag
// The first 4 stay; the last partition and what follows it score 1. Too short for two partitions: the newest
// stay.
// Cost per choice: 6 size (d_key + d_value) flops and a quadratic ranking of each partition.
// Source: Liang et al., "LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are Important",
// 2025, equations 1 to 4. Deviations: of a small cache a partition is at most half of what the 4 leave; a
// channel that is constant in the next partition counts as 0.
template <index_t Lag>
struct lagkv_by {
  static constexpr const char* name = "lagkv";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr scope where = scope::list;

  template <class T>
  static void score_list(context& ctx, const list_view<T>& list, const moment& m, row_view<T> out) {
    context::frame scratch(ctx);
    const index_t n = out.size(), sinks = std::min<index_t>(4, m.capacity - 1);
    const index_t lag = std::clamp<index_t>((m.capacity - sinks) / 2, 1, Lag), parts = (n - sinks) / lag;
    const auto u = scratch.row<double>(lag), mean = scratch.row<double>(lag), sum = scratch.row<double>(lag);
    for (index_t i = 0; i < n; ++i) out[i] = i < sinks ? keep_always<T> : T(1);
    for (index_t part = 0; part + 1 < parts; ++part) {
      const index_t from = sinks + part * lag;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (const auto& rows : {list.keys, list.values}) {
        detail::spread_of_partition<T>(rows.range(from, from + lag), rows.range(from + lag, from + 2 * lag),
                                       mean, u);
        for (index_t i = 0; i < lag; ++i) sum[i] += u[i];
      }
      for (index_t i = 0; i < lag; ++i) {
        index_t rank = 0;
        for (index_t j = 0; j < lag; ++j) rank += sum[j] < sum[i] || (sum[j] == sum[i] && j < i);
        out[from + i] = static_cast<T>(rank) / static_cast<T>(lag);
      }
    }
  }
};
using lagkv = lagkv_by<128>;

}  // namespace mneme::inline MNEME_ABI::evict
