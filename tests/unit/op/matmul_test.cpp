// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/matmul.hpp>
#include <mneme/math/encode.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

constexpr dtype all_types[] = {dtype::f32,  dtype::f64,  dtype::bf16, dtype::f16,
                               dtype::q8_0, dtype::q4_0, dtype::q4_1};
// Bits are promised for the architecture that a unit is built for. In a unit with FMA, gcc contracts the
// products and sums of the narrower architectures as it likes.
using bit_stable_archs = std::tuple<simd::scalar, simd::native>;

constexpr placement ugly{.gap = 3, .shift = 1};

// A stored N x K matrix at an odd address, as in a mapped file.
weight stored(index_t N, index_t K, dtype type) {
  const auto values = random_rows<double>(N, K, 0, static_cast<std::uint64_t>(N * 1000 + K));
  const index_t bytes = row_bytes(type, K);
  auto owner = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(N * bytes + 1));
  std::byte* first = owner->data() + 1;
  for (index_t n = 0; n < N; ++n) encode_row(type, values.view()[n].data(), K, first + n * bytes);
  return weight(first, {N, K, 1}, 2, type, owner);
}
weight stored(index_t N, index_t K, dtype type, bool aligned) {
  const weight w = stored(N, K, type);
  return aligned ? weight::copy_of(w.data(), {N, K, 1}, 2, type) : w;
}

template <class Backend, class T>
matrix<T> product(const weight& W, mat_view<const T> X, placement at = {}, executor* threads = nullptr) {
  context ctx;
  ctx.threads = threads;
  matrix<T> Y(X.rows(), W.rows(), at);
  kernel<matmul, Backend>::template run<T>(ctx, W, X, Y.view());
  CHECK(Y.surrounding_untouched());
  return Y;
}

template <class Arch, class T>
void agrees_with_reference(index_t R, index_t N, index_t K, dtype type) {
  CAPTURE(R, N, K, info(type).name, sizeof(T));
  // f32 and f64 rows are read through typed pointers: an odd address is for packed types only.
  const weight W = stored(N, K, type, type == dtype::f32 || type == dtype::f64);
  const matrix<T> X(random_rows<T>(R, K, 0, 5).view(), ugly);
  const matrix<double> wide = mneme_test::widened<T>(X.view());
  const auto expected = product<reference, double>(W, wide);
  const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<T>, .rows = 0, .width = K};
  CHECK(mneme_test::difference<T, double>(product<cpu<Arch>, T>(W, X, ugly), expected, allowed) == "");
  CHECK(mneme_test::difference<T, double>(product<reference, T>(W, X, ugly), expected, allowed) == "");
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("matmul agrees with its reference for every storage type", "", test_archs) {
  for (const dtype type : all_types)
    for (const index_t R : {1, 3, 7})
      for (const index_t N : {1, 4, 9, 67}) {
        agrees_with_reference<TestType, float>(R, N, 96, type);
        agrees_with_reference<TestType, double>(R, N, 64, type);
        if (info(type).block > 1) continue;
        for (const index_t K : {1, 5, 16, 31, 33, 50}) agrees_with_reference<TestType, float>(R, N, K, type);
        agrees_with_reference<TestType, double>(R, N, 37, type);
      }
}

TEMPLATE_LIST_TEST_CASE("matmul: the bits of a row do not depend on the rows beside it", "",
                        bit_stable_archs) {
  for (const dtype type : all_types)
    for (const index_t K : {32, 41, 160}) {
      if (K % info(type).block != 0) continue;
      CAPTURE(info(type).name, K);
      const weight W = stored(71, K, type, true);
      const auto X = random_rows<float>(13, K, 0, 6);
      const auto whole = product<cpu<TestType>, float>(W, X);
      for (const index_t rows : {1, 2, 5, 7, 13})
        for (index_t from = 0; from + rows <= 13; from += 3) {
          CAPTURE(rows, from);
          const auto some = product<cpu<TestType>, float>(W, X.view().range(from, from + rows));
          CHECK(mneme_test::bit_difference<float>(some, whole.view().range(from, from + rows)) == "");
        }
    }
}

TEMPLATE_LIST_TEST_CASE("matmul: threads, strides and alignment change no bit", "", bit_stable_archs) {
  mneme_test::reverse_executor threads;
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::q4_1})
    for (const index_t R : {1, 6})
      for (const index_t N : {3, 64, 130}) {
        CAPTURE(info(type).name, R, N);
        const weight W = stored(N, 64, type, true);
        const auto X = random_rows<float>(R, 64, 0, 7);
        const matrix<float> placed(X.view(), ugly);
        const auto plain = product<cpu<TestType>, float>(W, X);
        CHECK(mneme_test::bit_difference<float>(product<cpu<TestType>, float>(W, X, {}, &threads), plain) ==
              "");
        CHECK(mneme_test::bit_difference<float>(product<cpu<TestType>, float>(W, placed, ugly), plain) == "");
      }
}

TEMPLATE_LIST_TEST_CASE("matmul: rows that are not finite stay alone", "", test_archs) {
  const weight W = stored(19, 40, dtype::f32, true);
  auto X = random_rows<float>(5, 40, 0, 8);
  const auto clean = product<cpu<TestType>, float>(W, X);
  X.view()[2][7] = std::numeric_limits<float>::quiet_NaN();
  const auto Y = product<cpu<TestType>, float>(W, X);
  for (index_t r = 0; r < 5; ++r)
    for (index_t n = 0; n < 19; ++n)
      CHECK((r == 2 ? std::isnan(Y.view()[r][n]) : Y.view()[r][n] == clean.view()[r][n]));
}

TEMPLATE_LIST_TEST_CASE("matmul of no rows, and of sums that are exact", "", test_archs) {
  const weight W = stored(5, 32, dtype::q8_0);
  CHECK(product<cpu<TestType>, float>(W, mat_view<const float>(nullptr, 0, 32)).rows() == 0);

  const weight ones = constant_weight({3, 100}, 1);
  matrix<float> X(2, 100);
  for (index_t k = 0; k < 100; ++k) X.view()[0][k] = static_cast<float>(k), X.view()[1][k] = 0.5f;
  const auto Y = product<cpu<TestType>, float>(ones, X);
  for (index_t n = 0; n < 3; ++n) {
    CHECK(Y.view()[0][n] == 4950);
    CHECK(Y.view()[1][n] == 50);
  }
}
