// SPDX-License-Identifier: Apache-2.0
// What the plain forms of the RWKV time mixings share.
#pragma once
#include "plain_layer.hpp"

namespace plain {

// x W, W [in, out] as RWKV keeps its low-rank factors; of rows [from, from + in) of W.
inline row times(const row& x, const mneme::weight& w, index_t from = 0) {
  const row W = elements(w);
  row y(static_cast<std::size_t>(w.cols()));
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < y.size(); ++j)
      y[j] += x[i] * W[(static_cast<std::size_t>(from) + i) * y.size() + j];
  return y;
}
template <class F>
row each(row x, F&& f) {
  for (double& v : x) v = f(v);
  return x;
}
// f(a_i, b_i)
template <class F>
row each(row a, const row& b, F&& f) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = f(a[i], b[i]);
  return a;
}
inline row sum(const row& a, const row& b) { return each(a, b, std::plus<>()); }
inline row multiply(const row& a, const row& b) { return each(a, b, std::multiplies<>()); }
// x + mu (before - x)
inline row blend(const row& x, const row& before, const row& mu) {
  return sum(x, multiply(mu, each(before, x, std::minus<>())));
}
// Every head less its mean, divided by its deviation; weight and bias per channel.
inline row group_norm(const row& x, index_t heads, double epsilon, const mneme::weight& w,
                      const mneme::weight& b) {
  const auto N = x.size() / static_cast<std::size_t>(heads);
  row y;
  for (std::size_t from = 0; from < x.size(); from += N) {
    double mean = 0, squares = 0;
    for (std::size_t i = 0; i < N; ++i) mean += x[from + i] / static_cast<double>(N);
    for (std::size_t i = 0; i < N; ++i) squares += (x[from + i] - mean) * (x[from + i] - mean);
    for (std::size_t i = 0; i < N; ++i)
      y.push_back((x[from + i] - mean) / std::sqrt(squares / static_cast<double>(N) + epsilon));
  }
  return sum(multiply(y, elements(w)), elements(b));
}
// Tensors whose seeded start is constant, made different from channel to channel.
template <class Params>
Params stirred(Params p) {
  randomise(p.ln_x_weight, 1);
  randomise(p.ln_x_bias, 2);
  return p;
}

}  // namespace plain
