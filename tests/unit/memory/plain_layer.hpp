// SPDX-License-Identifier: Apache-2.0
// Plain double loops for tests that compute a layer a second time, by its equation alone.
#pragma once
#include <mneme/core/scan.hpp>
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace plain {

using mneme::index_t;
using row = std::vector<double>;
using rows = std::vector<row>;  // one per token

inline double& at(row& x, index_t i) { return x[static_cast<std::size_t>(i)]; }
inline double at(const row& x, index_t i) { return x[static_cast<std::size_t>(i)]; }

// The elements of a float32 weight.
inline row elements(const mneme::weight& w) {
  REQUIRE(w.type() == mneme::dtype::f32);
  const float* x = mneme::data<float>(w);
  return row(x, x + w.size());
}
// W x.
inline row product(const mneme::weight& w, const row& x) {
  const row W = elements(w);
  row y(static_cast<std::size_t>(w.rows()));
  for (index_t r = 0; r < w.rows(); ++r)
    for (index_t c = 0; c < w.cols(); ++c) at(y, r) += at(W, r * w.cols() + c) * at(x, c);
  return y;
}
inline rows product(const mneme::weight& w, const rows& X) {
  rows Y;
  for (const row& x : X) Y.push_back(product(w, x));
  return Y;
}
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu(double x) { return x * sigmoid(x); }
inline double softplus(double x) { return std::log1p(std::exp(x)); }
template <class F>
rows map(rows X, F&& f) {
  for (row& x : X)
    for (double& v : x) v = f(v);
  return X;
}
// The columns of head h.
inline row head(const row& x, index_t h, index_t width) {
  return row(x.begin() + h * width, x.begin() + (h + 1) * width);
}
inline double dot(const row& a, const row& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
// Every head divided by its root mean square and multiplied by the weight they share.
inline row head_norm(const row& x, const mneme::weight& w, double epsilon) {
  const index_t V = w.cols();
  const row W = elements(w);
  row y = x;
  for (std::size_t h = 0; h < x.size() / W.size(); ++h) {
    const row of_head = head(x, static_cast<index_t>(h), V);
    const double scale = 1 / std::sqrt(dot(of_head, of_head) / static_cast<double>(V) + epsilon);
    for (index_t j = 0; j < V; ++j)
      at(y, static_cast<index_t>(h) * V + j) = at(of_head, j) * scale * at(W, j);
  }
  return y;
}

inline rows random_rows(index_t count, index_t width, std::uint64_t seed) {
  const auto m = mneme_test::random_rows<double>(count, width, 0, seed);
  rows X;
  for (index_t t = 0; t < count; ++t) {
    X.emplace_back();
    for (const double x : m.view()[t]) X.back().push_back(static_cast<float>(x));
  }
  return X;
}
// Weights with nothing special about them: a norm weight of ones would hide that it is not used.
inline void randomise(mneme::weight& w, std::uint64_t seed) {
  mneme::random_stream r(seed, 1);
  float* x = mneme::edit<float>(w);
  for (index_t i = 0; i < w.size(); ++i) x[i] = static_cast<float>(r.uniform(0.5, 1.5));
}

// max |got - expected| / max |expected| of a memory fed with X: the first `cut` rows by scan without outputs,
// the others with outputs.
template <class M>
double error_of(const M& m, const rows& X, const rows& expected, index_t cut = 0) {
  using T = mneme::scalar_t<M>;
  const index_t tokens = static_cast<index_t>(X.size()), outs = tokens - cut;
  std::vector<T> x, y(static_cast<std::size_t>(outs * m.d_out()));
  for (const row& r : X)
    for (const double v : r) x.push_back(static_cast<T>(v));
  auto s = m.init();
  mneme::context ctx;
  mneme::scan(m, ctx, s, mneme::mat_view<const T>(x.data(), tokens, m.d_in()),
              mneme::mat_view<T>(y.data(), outs, m.d_out()));
  double error = 0, scale = 0;
  for (index_t t = 0; t < outs; ++t)
    for (index_t i = 0; i < m.d_out(); ++i) {
      const double want = at(expected[static_cast<std::size_t>(cut + t)], i);
      const double d = std::abs(static_cast<double>(y[static_cast<std::size_t>(t * m.d_out() + i)]) - want);
      error = d <= error ? error : d;  // NaN stays
      scale = std::max(scale, std::abs(want));
    }
  return error / scale;
}

// silu(conv(X)), or silu(X) without taps [channels, 1, width].
inline rows convolved(const rows& X, const mneme::weight& taps) {
  if (!taps) return map(X, silu);
  const auto w = elements(taps);
  const index_t width = taps.cols(), tokens = static_cast<index_t>(X.size());
  rows Y(X.size(), row(X[0].size()));
  for (index_t t = 0; t < tokens; ++t)
    for (index_t c = 0; c < taps.rows(); ++c)
      for (index_t back = 0; back < width && back <= t; ++back)
        at(Y[static_cast<std::size_t>(t)], c) +=
            at(w, c * width + width - 1 - back) * at(X[static_cast<std::size_t>(t - back)], c);
  return map(Y, silu);
}

}  // namespace plain
