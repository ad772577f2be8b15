// SPDX-License-Identifier: Apache-2.0
// The fast Fourier transform of a power of two of complex numbers.
#pragma once
#include "../core/view.hpp"

#include <bit>
#include <cmath>
#include <complex>
#include <numbers>
#include <utility>

namespace mneme::inline MNEME_ABI {

// The smallest size that a transform of at least n numbers can have.
inline index_t fft_size(index_t n) {
  return static_cast<index_t>(std::bit_ceil(static_cast<std::size_t>(n)));
}

// roots[j] = e^(-2 pi i j / n), j < n / 2 = roots.size(): the table of every transform of n numbers.
template <class T>
void fft_roots(row_view<std::complex<T>> roots) {
  for (index_t j = 0; j < roots.size(); ++j) {
    const double angle = -std::numbers::pi * static_cast<double>(j) / static_cast<double>(roots.size());
    roots[j] = {static_cast<T>(std::cos(angle)), static_cast<T>(std::sin(angle))};
  }
}

// x_k <- sum_j x_j e^(-2 pi i j k / n), in place; n = x.size() a power of two, roots as above. The inverse
// has e^(+...), and its sums are not divided by n. Radix 2, decimation in time: 5 n log2 n flops; error about
// eps log2 n of the norm.
template <class T>
void fft(row_view<const std::complex<T>> roots, row_view<std::complex<T>> x, bool inverse = false) {
  const index_t n = x.size();
  for (index_t i = 1, reversed = 0; i < n; ++i) {
    index_t bit = n / 2;
    for (; reversed & bit; bit /= 2) reversed ^= bit;
    reversed ^= bit;
    if (i < reversed) std::swap(x[i], x[reversed]);
  }
  for (index_t half = 1; half < n; half *= 2)
    for (index_t j = 0; j < half; ++j) {
      const std::complex<T> w = roots[j * (n / 2 / half)];
      const T re = w.real(), im = inverse ? -w.imag() : w.imag();
      for (index_t k = j; k < n; k += 2 * half) {
        const std::complex<T> a = x[k], b = x[k + half];
        const T br = b.real() * re - b.imag() * im, bi = b.real() * im + b.imag() * re;
        x[k] = {a.real() + br, a.imag() + bi};
        x[k + half] = {a.real() - br, a.imag() - bi};
      }
    }
}

}  // namespace mneme::inline MNEME_ABI
