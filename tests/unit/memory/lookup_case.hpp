// SPDX-License-Identifier: Apache-2.0
// Product-key lookup written plainly, for the tests of the memories that are built on it.
#pragma once
#include <mneme/memory/detail/product_key_lookup.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace lookup_test {

using namespace mneme;
using vec = std::vector<double>;

inline double at(const weight& w, index_t i) { return static_cast<double>(data<float>(w)[i]); }

// W x + b
inline vec affine(const weight& W, const weight& b, const vec& x) {
  vec y;
  for (index_t n = 0; n < W.rows(); ++n) {
    double sum = b ? at(b, n) : 0;
    for (index_t k = 0; k < W.cols(); ++k) sum += at(W, n * W.cols() + k) * x[static_cast<std::size_t>(k)];
    y.push_back(sum);
  }
  return y;
}
template <class T>
vec row_of(row_view<const T> x) {
  return vec(x.begin(), x.end());
}
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// What one head selects of all n^2 keys, by scoring each: scores descending.
struct choice {
  index_t id;
  double score;
};
inline std::vector<choice> select(const weight& K, index_t head, index_t top_k, const vec& q) {
  const index_t n = K.dim(1), dk = K.dim(2);
  const auto score = [&](index_t half, index_t i) {
    double s = 0;
    for (index_t d = 0; d < dk; ++d)
      s += at(K, ((2 * head + half) * n + i) * dk + d) *
           q[static_cast<std::size_t>((2 * head + half) * dk + d)];
    return s;
  };
  std::vector<choice> all;
  for (index_t id = 0; id < n * n; ++id) all.push_back({id, score(0, id / n) + score(1, id % n)});
  std::stable_sort(all.begin(), all.end(),
                   [](const choice& a, const choice& b) { return a.score > b.score; });
  all.resize(static_cast<std::size_t>(top_k));
  return all;
}
// The softmax weights of all heads, added up over the table: k [n^2].
inline vec softmax_address(const weight& K, index_t top_k, const vec& q) {
  vec k(static_cast<std::size_t>(K.dim(1) * K.dim(1)), 0.0);
  for (index_t head = 0; head < K.dim(0) / 2; ++head) {
    const auto chosen = select(K, head, top_k, q);
    double total = 0;
    for (const choice& c : chosen) total += std::exp(c.score);
    for (const choice& c : chosen) k[static_cast<std::size_t>(c.id)] += std::exp(c.score) / total;
  }
  return k;
}
// V^T k
inline vec read_table(const vec& V, index_t width, const vec& k) {
  vec y(static_cast<std::size_t>(width), 0.0);
  for (std::size_t row = 0; row < k.size(); ++row)
    for (std::size_t d = 0; d < y.size(); ++d) y[d] += k[row] * V[row * y.size() + d];
  return y;
}
inline vec table_of(const weight& V) {
  vec t;
  for (index_t i = 0; i < V.size(); ++i) t.push_back(at(V, i));
  return t;
}

}  // namespace lookup_test
