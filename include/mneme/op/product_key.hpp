// SPDX-License-Identifier: Apache-2.0
// Product-key lookup: n^2 values addressed by the sums of two sets of n sub-keys.
#pragma once
#include "embedding_bag.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mneme::inline MNEME_ABI {

// The k best pairs of s1[i] + s2[j]: value descending, then id = i n2 + j ascending. NaN counts as -infinity;
// a sum at -infinity is never selected; places left over get id -1, value -infinity.
//   s1 [n1], s2 [n2] -> best [k], ids [k]
// Values equal those of brute force bit for bit. Ids may differ between pairs whose sums are equal by
// rounding only.
struct product_key_select {};

enum class product_key_gate {
  softmax,  // w = softmax(v) over the k selected
  relu      // w = max(v, 0)
};

// Which values a query reads, and how much of each; per head h, with q = [q1; q2]:
//   s1 = K[h, 0] q1,  s2 = K[h, 1] q2,  (v, id) = product_key_select(s1, s2),  w = gate(v)
//   Q [R, 2 H dk] (head, half, dk)    K [2 H, n, dk] of any storage type    ids, w [R, H k]
// 4 H n dk flops and the selection per row. Row-stable. Places left over have id -1 and weight 0: all of them
// if the query is NaN.
struct product_key_address {};

// Reads the values under the selected keys:
//   (id, w) = product_key_address(K, Q);  y = sum over m of w[m] V[id[m]]
//   Q and K as there    V [n^2, dv] of any storage type    Y [R, dv]
// 4 H n dk + 2 H k dv flops and the selection per row. Row-stable. A query of NaN reads zeros.
struct product_key_read {};

// Layer norm of rows, in place: x <- (x - mean) / sqrt(variance + epsilon) * w + b      X [R, D]   w, b [D]
struct product_key_normalise {};

template <>
struct kernel<product_key_select, reference> {
  template <class T>
  static void run(context& ctx, row_view<const T> s1, row_view<const T> s2, row_view<T> best,
                  row_view<index_t> ids) noexcept {
    context::frame scratch(ctx);
    const auto sum = scratch.row<T>(s1.size() * s2.size());
    const auto order = scratch.row<index_t>(sum.size());
    index_t found = 0;
    for (index_t id = 0; id < sum.size(); ++id) {
      sum[id] = s1[id / s2.size()] + s2[id % s2.size()];
      if (sum[id] > -std::numeric_limits<T>::infinity()) order[found++] = id;  // false for NaN
    }
    std::sort(order.begin(), order.begin() + found,
              [&](index_t a, index_t b) { return sum[a] > sum[b] || (sum[a] == sum[b] && a < b); });
    for (index_t m = 0; m < best.size(); ++m) {
      best[m] = m < found ? sum[order[m]] : -std::numeric_limits<T>::infinity();
      ids[m] = m < found ? order[m] : index_t{-1};
    }
  }
};

template <>
struct kernel<product_key_address, reference> {
  template <class T>
  static void run(context& ctx, const weight& K, index_t top_k, product_key_gate gate, mat_view<const T> Q,
                  mat_view<index_t> ids, mat_view<T> weights) noexcept {
    const index_t heads = K.dim(0) / 2, n = K.dim(1), dk = K.dim(2);
    context::frame scratch(ctx);
    const auto s = scratch.mat<double>(2, n);
    const auto row = scratch.row<double>(dk), w = scratch.row<double>(top_k);
    for (index_t r = 0; r < Q.rows(); ++r)
      for (index_t h = 0; h < heads; ++h) {
        for (index_t half = 0; half < 2; ++half)
          for (index_t i = 0; i < n; ++i) {
            decode_row<simd::scalar>(K.type(), K.row((2 * h + half) * n + i), dk, row.data());
            s[half][i] = 0;
            for (index_t d = 0; d < dk; ++d)
              s[half][i] += row[d] * static_cast<double>(Q[r][(2 * h + half) * dk + d]);
          }
        const auto id = ids[r].sub(h * top_k, top_k);
        kernel<product_key_select, reference>::run<double>(ctx, s[0], s[1], w, id);
        const double highest = w[0];
        double total = 0;
        for (index_t m = 0; m < top_k; ++m) {
          w[m] = id[m] < 0                        ? 0
                 : gate == product_key_gate::relu ? std::max(w[m], 0.0)
                                                  : std::exp(w[m] - highest);
          total += w[m];
        }
        for (index_t m = 0; m < top_k; ++m)
          weights[r][h * top_k + m] =
              static_cast<T>(gate == product_key_gate::relu || total == 0 ? w[m] : w[m] / total);
      }
  }
};

namespace detail {
// Address, then gather, on one backend.
template <class Backend, class T>
void read_product_keys(context& ctx, const weight& K, const weight& V, index_t top_k, product_key_gate gate,
                       mat_view<const T> Q, mat_view<T> Y) noexcept {
  context::frame scratch(ctx);
  const index_t per_row = K.dim(0) / 2 * top_k;
  const auto ids = scratch.mat<index_t>(Q.rows(), per_row);
  const auto w = scratch.mat<T>(Q.rows(), per_row);
  kernel<product_key_address, Backend>::template run<T>(ctx, K, top_k, gate, Q, ids, w);
  kernel<embedding_bag, Backend>::template run<T>(ctx, V, ids, w, Y);
}
}  // namespace detail

template <>
struct kernel<product_key_read, reference> {
  template <class T>
  static void run(context& ctx, const weight& K, const weight& V, index_t top_k, product_key_gate gate,
                  mat_view<const T> Q, mat_view<T> Y) noexcept {
    detail::read_product_keys<reference, T>(ctx, K, V, top_k, gate, Q, Y);
  }
};

template <>
struct kernel<product_key_normalise, reference> {
  template <class T>
  static void run(context& ctx, const weight& w, const weight& b, double epsilon, mat_view<T> X) noexcept {
    context::frame scratch(ctx);
    const auto scale = scratch.row<double>(X.cols()), shift = scratch.row<double>(X.cols());
    decode_row<simd::scalar>(w.type(), w.data(), X.cols(), scale.data());
    decode_row<simd::scalar>(b.type(), b.data(), X.cols(), shift.data());
    const auto D = static_cast<double>(X.cols());
    for (index_t r = 0; r < X.rows(); ++r) {
      double mean = 0, variance = 0;
      for (T x : X[r]) mean += static_cast<double>(x) / D;
      for (T x : X[r]) variance += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean) / D;
      for (index_t i = 0; i < X.cols(); ++i)
        X[r][i] = static_cast<T>(
            (static_cast<double>(X[r][i]) - mean) / std::sqrt(variance + epsilon) * scale[i] + shift[i]);
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
