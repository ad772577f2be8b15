// SPDX-License-Identifier: Apache-2.0
#include <mneme/op/convolve_fft.hpp>

#include "catch.hpp"
#include "laws/compare.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::random_rows;

TEST_CASE("fft_size is the next power of two") {
  CHECK(fft_size(1) == 1);
  CHECK(fft_size(2) == 2);
  CHECK(fft_size(3) == 4);
  CHECK(fft_size(1025) == 2048);
}

TEMPLATE_TEST_CASE("fft is the Fourier sum, and its inverse undoes it", "", float, double) {
  using complex = std::complex<TestType>;
  for (const index_t n : {1, 2, 4, 8, 64}) {
    CAPTURE(n);
    const auto parts = random_rows<TestType>(2, n, 0, 5);
    std::vector<complex> x, roots(static_cast<std::size_t>(n / 2));
    for (index_t j = 0; j < n; ++j) x.emplace_back(parts.view()[0][j], parts.view()[1][j]);
    fft_roots<TestType>(roots);
    auto y = x;
    fft<TestType>(roots, y);
    double error = 0;
    for (index_t k = 0; k < n; ++k) {
      std::complex<double> sum;
      for (index_t j = 0; j < n; ++j)
        sum +=
            std::complex<double>(x[static_cast<std::size_t>(j)]) *
            std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(j * k % n) / static_cast<double>(n));
      error = std::max(error, std::abs(std::complex<double>(y[static_cast<std::size_t>(k)]) - sum));
    }
    CHECK(error <= 40 * mneme_test::epsilon<TestType>);
    fft<TestType>(roots, y, true);
    for (std::size_t j = 0; j < x.size(); ++j)
      CHECK(std::abs(y[j] / static_cast<TestType>(n) - x[j]) <= 20 * mneme_test::epsilon<TestType>);
  }
}

TEMPLATE_TEST_CASE("convolve_fft is the causal sum, also in place, for short and long kernels", "", float,
                   double) {
  context ctx;
  for (const index_t rows : {0, 1, 2, 7, 33})
    for (const index_t taps : {0, 1, 5, 33, 50}) {
      CAPTURE(rows, taps);
      const auto K = random_rows<TestType>(3, taps, 0, 1), U = random_rows<TestType>(rows, 3, 0, 2);
      matrix<TestType> Y(rows, 3, {2, 1});
      convolve_fft<TestType>(ctx, K, U, Y.view());
      CHECK(Y.surrounding_untouched());
      matrix<double> sums(rows, 3);
      for (index_t t = 0; t < rows; ++t)
        for (index_t d = 0; d < 3; ++d) {
          double& sum = sums.view()[t][d] = 0;
          for (index_t s = 0; s <= t && s < taps; ++s)
            sum += static_cast<double>(K.view()[d][s]) * static_cast<double>(U.view()[t - s][d]);
        }
      CHECK(mneme_test::difference<TestType, double>(
                Y, sums, {.eps = mneme_test::epsilon<TestType>, .rows = 1, .width = 8}) == "");
      matrix<TestType> in_place = U;
      convolve_fft<TestType>(ctx, K, in_place, in_place.view());
      CHECK(mneme_test::bit_difference<TestType>(in_place, Y) == "");
    }
}
