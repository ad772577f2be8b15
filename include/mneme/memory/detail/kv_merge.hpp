// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../../evict/policy.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI {

// Merging on eviction: the value of every entry that leaves goes into the entry that stays whose key has the
// largest cosine c with its own; with c < 0 it is dropped as without merging. Keys and positions stay those
// of the survivor t.
//   v_t <- (m_t v_t + sum_j w_j v_j) / (m_t + sum_j w_j)
//   merge::nearest   m_t = 1, w_j = c |v_j| / (|v_j| + |v_t| + 1e-6)
//   merge::counted   m = the tokens that an entry stands for, w_j = m_j; ln m_t is added to the survivor's
//   scores, so
//                    that merging entries of equal keys changes no output. It is kept as one more key channel
// Source: nearest: MergingPress of kvpress 0.5.5, after Bolya et al., "Token Merging: Your ViT But Faster",
// 2023, and Wan et al., "D2O: Dynamic Discriminative Operations for Efficient Generative Inference of Large
// Language Models", 2024.
//
// keys [n, d_key], values [n, d_value]: the entries of one list, d channels of a key compared; `gone`:
// ascending rows that leave. Changes rows of survivors and calls changed(i) for each.
template <class T, class F>
void merge_entries(context& ctx, evict::merge how, index_t d, mat_view<T> keys, mat_view<T> values,
                   row_view<const index_t> gone, F&& changed) noexcept {
  context::frame scratch(ctx);
  const index_t n = keys.rows(), d_value = values.cols();
  const bool counted = how == evict::merge::counted;
  const auto added = scratch.mat<double>(n, d_value);
  const auto weight = scratch.row<double>(n), length = scratch.row<double>(n);
  std::fill_n(added.data(), n * d_value, 0.0);
  std::fill(weight.begin(), weight.end(), 0.0);
  const auto product = [](row_view<const T> a, row_view<const T> b, index_t size) {
    double sum = 0;
    for (index_t c = 0; c < size; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return sum;
  };
  const auto tokens = [&](index_t i) { return counted ? std::exp(static_cast<double>(keys[i][d])) : 1.0; };
  for (index_t i = 0; i < n; ++i) length[i] = std::max(std::sqrt(product(keys[i], keys[i], d)), 1e-6);

  for (const index_t j : gone) {
    index_t nearest = -1, next = 0;
    double cosine = -2;
    for (index_t i = 0; i < n; ++i) {
      if (next < gone.size() && gone[next] == i) {
        ++next;
        continue;
      }
      if (const double c = product(keys[i], keys[j], d) / (length[i] * length[j]); c > cosine)
        cosine = c, nearest = i;
    }
    if (nearest < 0 || cosine < 0) continue;
    const double v = std::sqrt(product(values[j], values[j], d_value));
    const double w =
        counted ? tokens(j)
                : cosine * v / (v + std::sqrt(product(values[nearest], values[nearest], d_value)) + 1e-6);
    weight[nearest] += w;
    for (index_t c = 0; c < d_value; ++c) added[nearest][c] += w * static_cast<double>(values[j][c]);
  }
  for (index_t i = 0; i < n; ++i) {
    if (!(weight[i] > 0)) continue;
    const double own = tokens(i), all = own + weight[i];
    for (index_t c = 0; c < d_value; ++c)
      values[i][c] = static_cast<T>((own * static_cast<double>(values[i][c]) + added[i][c]) / all);
    if (counted) keys[i][d] = static_cast<T>(std::log(all));
    changed(i);
  }
}

// Every head of d channels of every row with one more channel.
template <class T>
mat_view<T> widened_heads(context::frame& scratch, mat_view<T> X, index_t d, T last) noexcept {
  const index_t heads = X.cols() / d;
  const auto wide = scratch.template mat<T>(X.rows(), X.cols() + heads);
  for (index_t r = 0; r < X.rows(); ++r)
    for (index_t h = 0; h < heads; ++h) {
      std::copy_n(X[r].data() + h * d, d, wide[r].data() + h * (d + 1));
      wide[r][h * (d + 1) + d] = last;
    }
  return wide;
}

}  // namespace mneme::inline MNEME_ABI
