// SPDX-License-Identifier: Apache-2.0
// Loops over one row, with the tail in one-lane packs; dot, axpy, sum of squares, softmax.
#pragma once
#include "../core/view.hpp"
#include "activation.hpp"
#include "sums.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// f.template operator()<P>(i) for the packs that cover [0, n): whole packs first, then single elements.
template <class T, class Arch, class F>
void for_packs(index_t n, F&& f) {
  using P = simd::pack<T, Arch>;
  const index_t whole = n - n % simd::width<P>;
  for (index_t i = 0; i < whole; i += simd::width<P>) f.template operator()<P>(i);
  for (index_t i = whole; i < n; ++i) f.template operator()<T>(i);
}

// y[i] = f(x[i]).
template <class Arch, class T, class F>
void map_row(index_t n, const T* x, T* y, F&& f) {
  for_packs<T, Arch>(n, [&]<class P>(index_t i) { simd::store(y + i, f(simd::load<P>(x + i))); });
}

// f on every element, in place.
template <class Arch, class T, class F>
void map_rows(mat_view<T> X, F&& f) {
  for (index_t r = 0; r < X.rows(); ++r) map_row<Arch>(X.cols(), X[r].data(), X[r].data(), f);
}

// f folded over [0, n): f.template operator()<P>(i, sum so far), on one pack of partial sums in the order of
// i, then across lanes, then the tail one by one.
template <class Arch, class T, class F>
T fold(index_t n, F&& f) {
  using P = simd::pack<T, Arch>;
  P partial(T(0));
  index_t i = 0;
  for (; i + simd::width<P> <= n; i += simd::width<P>) partial = f.template operator()<P>(i, partial);
  T sum = simd::sum(partial);
  for (; i < n; ++i) sum = f.template operator()<T>(i, sum);
  return sum;
}

// sum of a[i] b[i].
template <class Arch, class T>
T dot(index_t n, const T* a, const T* b) {
  return fold<Arch, T>(n, [&]<class P>(index_t i, P sum) {
    return simd::fma(simd::load<P>(a + i), simd::load<P>(b + i), sum);
  });
}

// y += a x.
template <class Arch, class T>
void axpy(index_t n, T a, const T* x, T* y) {
  for_packs<T, Arch>(n, [&]<class P>(index_t i) {
    simd::store(y + i, simd::fma(P(a), simd::load<P>(x + i), simd::load<P>(y + i)));
  });
}

// The largest of `least` and of n elements; their sum.
template <class Arch, class T>
T max_of(index_t n, const T* x, T least) {
  using P = simd::pack<T, Arch>;
  P highest(least);
  index_t i = 0;
  for (; i + simd::width<P> <= n; i += simd::width<P>) highest = simd::max(highest, simd::load<P>(x + i));
  T m = simd::max_of(highest);
  for (; i < n; ++i) m = simd::max(m, x[i]);
  return m;
}
template <class Arch, class T>
T sum_of(index_t n, const T* x) {
  return fold<Arch, T>(n, [x]<class P>(index_t i, P sum) { return sum + simd::load<P>(x + i); });
}

// p <- softmax(p) over n >= 1 finite or -infinite scores; returns log sum exp. A row of -infinity gives
// zeros.
template <class Arch, class T>
T softmax(index_t n, T* p) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  const T m = max_of<Arch>(n, p, lowest);
  if (!(m > lowest)) {
    std::fill_n(p, n, T(0));
    return lowest;
  }
  map_row<Arch>(n, p, p, [m]<class P>(P x) { return exp(x - P(m)); });
  const T total = sum_of<Arch>(n, p), inverse = T(1) / total;
  map_row<Arch>(n, p, p, [inverse]<class P>(P x) { return x * P(inverse); });
  return m + std::log(total);
}

// log sum exp(x_i) over n >= 1 elements; the sum in double, since the many small terms of a large vocabulary
// would be lost beside the large ones.
template <class Arch, class T>
double log_sum_exp(index_t n, const T* x) {
  constexpr index_t block = 64;
  T m = x[0];
  for (index_t i = 1; i < n; ++i) m = simd::max(m, x[i]);
  double total = 0;
  for (index_t from = 0; from < n; from += block) {
    T e[block];
    const index_t count = std::min(block, n - from);
    map_row<Arch>(count, x + from, e, [m]<class P>(P v) { return exp(v - P(m)); });
    for (index_t i = 0; i < count; ++i) total += static_cast<double>(e[i]);
  }
  return static_cast<double>(m) + std::log(total);
}

}  // namespace mneme::inline MNEME_ABI
