// SPDX-License-Identifier: Apache-2.0
// Delta rules in plain double loops, and what the last write of a sharp one leaves behind.
#pragma once
#include "plain_layer.hpp"

namespace plain {

inline row unit(row x, double epsilon = 1e-6) {
  const double length = std::sqrt(dot(x, x) + epsilon);
  for (double& v : x) v /= length;
  return x;
}

// Outputs of a delta layer before its norm, head by head; alpha(t, h, i) fades row i of head h.
template <class Config, class Params, class Decay>
rows delta_outputs(const Config& c, const Params& p, index_t heads, const rows& X, Decay&& alpha) {
  const auto Q = convolved(product(p.q_proj, X), p.q_conv1d), K = convolved(product(p.k_proj, X), p.k_conv1d),
             V = convolved(product(p.v_proj, X), p.v_conv1d);
  std::vector<rows> S(static_cast<std::size_t>(heads), rows(static_cast<std::size_t>(c.head_dim_k),
                                                            row(static_cast<std::size_t>(c.head_dim_v))));
  rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    const auto b = product(p.b_proj, X[t]);
    row o;
    for (index_t h = 0; h < heads; ++h) {
      auto& s = S[static_cast<std::size_t>(h)];
      const index_t key_head = h / (heads / c.heads);
      const auto q = unit(head(Q[t], key_head, c.head_dim_k)), k = unit(head(K[t], key_head, c.head_dim_k)),
                 v = head(V[t], h, c.head_dim_v);
      const double beta = sigmoid(at(b, h)) * (c.allow_neg_eigval ? 2 : 1);
      for (std::size_t j = 0; j < v.size(); ++j) {
        double recalled = 0, read = 0;
        for (std::size_t i = 0; i < k.size(); ++i) s[i][j] *= alpha(t, h, static_cast<index_t>(i));
        for (std::size_t i = 0; i < k.size(); ++i) recalled += k[i] * s[i][j];
        for (std::size_t i = 0; i < k.size(); ++i) s[i][j] += beta * k[i] * (v[j] - recalled);
        for (std::size_t i = 0; i < k.size(); ++i) read += q[i] * s[i][j];
        o.push_back(read / std::sqrt(static_cast<double>(c.head_dim_k)));
      }
    }
    O.push_back(o);
  }
  return O;
}

// Parameters of a delta layer with one head and without convolutions whose writes are exact: keys so long
// that the epsilon of their normalisation is nothing, and beta = 1 (or 2) for every token that ends in a 1.
template <class Params>
Params sharp(Params p) {
  float* const k = mneme::edit<float>(p.k_proj);
  for (index_t i = 0; i < p.k_proj.size(); ++i) k[i] *= 1e5f;
  float* const b = mneme::edit<float>(p.b_proj);
  std::fill_n(b, p.b_proj.size(), 0.0f);
  b[p.b_proj.cols() - 1] = 1000;
  return p;
}
inline rows random_rows_ending_in_one(index_t count, index_t width, std::uint64_t seed) {
  auto X = random_rows(count, width, seed);
  for (row& x : X) x.back() = 1;
  return X;
}
// What the state S [K, V] of such a layer recalls under the key of x, minus the value of x.
template <class M>
double recall_error(const M& m, const mneme::buffer<double>& S, const row& x) {
  const auto silu_of = [](row y) {
    for (double& v : y) v = silu(v);
    return y;
  };
  const auto k = unit(silu_of(product(m.weights().k_proj, x))), v = silu_of(product(m.weights().v_proj, x));
  double error = 0;
  for (std::size_t j = 0; j < v.size(); ++j) {
    double recalled = -v[j];
    for (std::size_t i = 0; i < k.size(); ++i) recalled += k[i] * S[static_cast<index_t>(i * v.size() + j)];
    error = std::max(error, std::abs(recalled));
  }
  return error;
}
template <class M>
void recalls_the_newest_pair(const typename M::config& c) {
  const M m(c, sharp(M(c, 3).weights()));
  mneme::context ctx;
  auto s = m.init();
  row y(static_cast<std::size_t>(c.d_model));
  for (const row& x : random_rows_ending_in_one(9, c.d_model, 4)) {
    mneme::step(m, ctx, s, x, y);
    CHECK(recall_error(m, s.S, x) <= 1e-9);
  }
}

}  // namespace plain
