// SPDX-License-Identifier: Apache-2.0
// Softmax attention of the query heads of one group over one list of keys and values.
#pragma once
#include "../core/context.hpp"
#include "../math/decode.hpp"

#include <cmath>
#include <limits>

namespace mneme::inline MNEME_ABI {

// The entries of one key/value head in their stored form D, slot after slot. Rows of a block type are padded with
// zeros to whole blocks.
template <dtype D>
struct kv_rows {
  const std::byte *keys, *values;
  index_t key_stride, value_stride;  // bytes from one slot to the next
  index_t d_key, d_value;
  index_t size;

  const std::byte* key(index_t slot) const { return keys + slot * key_stride; }
  const std::byte* value(index_t slot) const { return values + slot * value_stride; }
  // Channels to decode: whole blocks.
  static constexpr index_t padded(index_t d) { return (d + info(D).block - 1) / info(D).block * info(D).block; }
};

//   s_i = scale q . k_i          p = softmax(s)          o = sum_i p_i v_i
//   Q [G, d_key]   O [G, d_value]   P [G, >= size]: receives p if it has rows; asking for it never changes O
// No entries: O = 0. Row-stable: a query's answer does not depend on the other queries. Accumulation in T.
struct attention {};

template <>
struct kernel<attention, reference> {
  template <dtype D, class T>
  static void run(context& ctx, kv_rows<D> kv, double scale, mat_view<const T> Q, mat_view<T> O,
                  mat_view<T> P) noexcept {
    context::frame scratch(ctx);
    const auto p = scratch.row<double>(kv.size);
    const auto x = scratch.row<double>(kv.padded(std::max(kv.d_key, kv.d_value)));
    const auto o = scratch.row<double>(kv.d_value);
    for (index_t g = 0; g < Q.rows(); ++g) {
      double highest = -std::numeric_limits<double>::infinity();
      for (index_t i = 0; i < kv.size; ++i) {
        decode_row<D, simd::scalar>(kv.key(i), kv.padded(kv.d_key), x.data());
        double s = 0;
        for (index_t c = 0; c < kv.d_key; ++c) s += static_cast<double>(Q[g][c]) * x[c];
        p[i] = scale * s;
        highest = std::max(highest, p[i]);
      }
      double total = 0;
      for (double& s : p) total += s = std::exp(s - highest);
      std::fill(o.begin(), o.end(), 0.0);
      for (index_t i = 0; i < kv.size; ++i) {
        decode_row<D, simd::scalar>(kv.value(i), kv.padded(kv.d_value), x.data());
        for (index_t c = 0; c < kv.d_value; ++c) o[c] += p[i] / total * x[c];
      }
      for (index_t c = 0; c < kv.d_value; ++c) O[g][c] = static_cast<T>(o[c]);
      if (P.rows() > 0)
        for (index_t i = 0; i < kv.size; ++i) P[g][i] = static_cast<T>(p[i] / total);
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
