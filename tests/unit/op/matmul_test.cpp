// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/matmul.hpp>
#include <mneme/math/encode.hpp>

#include "catch.hpp"
#include "laws/executors.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

constexpr dtype all_types[] = {dtype::f32,  dtype::f64,  dtype::bf16, dtype::f16,
                               dtype::q8_0, dtype::q4_0, dtype::q4_1};

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

// Rows of X times W.
template <class T>
op_run<T> products(kernel_of<matmul, T> run, const weight& W, mat_view<const T> X, placement at = {},
                   executor* threads = nullptr, precision numeric = precision::exact) {
  return [=](tensors<T>&, index_t from, index_t to, index_t) {
    context ctx;
    ctx.threads = threads;
    ctx.numeric = numeric;
    matrix<T> Y(to - from, W.rows(), at);
    run(ctx, W, X.range(from, to), Y.view());
    return Y;
  };
}
template <class T>
matrix<T> product(kernel_of<matmul, T> run, const weight& W, mat_view<const T> X, placement at = {},
                  executor* threads = nullptr) {
  tensors<T> none;
  return products<T>(run, W, X, at, threads)(none, 0, X.rows(), X.rows());
}

// W as it is and interleaved, if it has that form.
std::vector<weight> forms(const weight& W) {
  std::vector<weight> all{W};
  if (const weight twice = interleaved(W); twice.interleaved()) all.push_back(twice);
  return all;
}

template <class T>
void agrees_with_reference(index_t R, index_t N, index_t K, dtype type) {
  // f32 and f64 rows are read through typed pointers: an odd address is for packed types only.
  const weight W = stored(N, K, type, type == dtype::f32 || type == dtype::f64);
  const matrix<T> X(random_rows<T>(R, K, 0, 5).view(), ugly);
  const matrix<double> wide = widened<T>(X.view());
  const op_result<double> expected{product<double>(reference_of<matmul, double>, W, wide), {}};
  const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = K};
  auto kernels = kernels_of<matmul, T>();
  kernels.push_back({"reference", reference_of<matmul, T>});
  for (const auto& [name, run] : kernels) {
    CAPTURE(name, R, N, K, info(type).name, sizeof(T));
    for (const weight& form : forms(W)) {
      CAPTURE(form.interleaved() != nullptr);
      CHECK(backend_fault(products<T>(run, form, X, ugly), {}, R, R, expected, allowed) == "");
    }
  }
}

}  // namespace

TEST_CASE("matmul agrees with its reference for every storage type", "[L16][matmul]") {
  for (const dtype type : all_types)
    for (const index_t R : {1, 3, 7})
      for (const index_t N : {1, 4, 9, 67}) {
        agrees_with_reference<float>(R, N, 96, type);
        agrees_with_reference<double>(R, N, 64, type);
        if (info(type).block > 1) continue;
        for (const index_t K : {1, 5, 16, 31, 33, 50}) agrees_with_reference<float>(R, N, K, type);
        agrees_with_reference<double>(R, N, 37, type);
      }
}

TEST_CASE("matmul: the bits of a row do not depend on the rows beside it") {
  for (const dtype type : all_types)
    for (const index_t K : {32, 41, 160}) {
      if (K % info(type).block != 0) continue;
      const auto X = random_rows<float>(13, K, 0, 6);
      for (const weight& W : forms(stored(71, K, type, true)))
        for (const auto& [arch, run] : kernels_of<matmul, float>()) {
          CAPTURE(arch, info(type).name, K, W.interleaved() != nullptr);
          CHECK(company_fault(products<float>(run, W, X), 13) == "");
        }
    }
}

TEST_CASE("matmul in fast precision is off by the rounding of its rows, whatever the company") {
  using native_matmul = kernel<matmul, native>;
  const auto run = native_of<matmul, float>;
  for (const dtype type : all_types)
    for (const index_t K : {5, 64, 96, 101}) {
      if (K % info(type).block != 0) continue;
      const weight W = interleaved(stored(130, K, type, true));
      const auto X = random_rows<float>(13, K, 0, 9);
      CAPTURE(info(type).name, K);
      const auto fast = products<float>(run, W, X, ugly, nullptr, precision::fast);
      const bool rounds = native_matmul::multiplies_bf16(type);
      matrix<double> rows = widened<float>(X.view());
      op_result<double> expected{product<double>(reference_of<matmul, double>, W, rows), {}};
      for (index_t r = 0; rounds && r < 13; ++r)
        for (double& x : rows.view()[r]) x = from_bf16(to_bf16(static_cast<float>(x)));
      const auto rounded = product<double>(reference_of<matmul, double>, W, rows);
      for (index_t r = 0; r < 13; ++r)  // the last two outputs are in no block
        std::copy_n(rounded.view()[r].begin(), 128, expected.outputs.view()[r].begin());
      CHECK(backend_fault(fast, {}, 13, 13, expected, {.eps = epsilon<float>, .rows = 0, .width = K}) == "");
      CHECK(company_fault(fast, 13) == "");
      tensors<float> none;
      const bool same = fast(none, 0, 13, 13) == products<float>(run, W, X, ugly)(none, 0, 13, 13);
      CHECK(same != rounds);
    }
}

TEST_CASE("matmul: threads, strides and alignment change no bit") {
  reverse_executor threads;
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::q4_1})
    for (const index_t R : {1, 6})
      for (const index_t N : {3, 64, 130}) {
        const auto X = random_rows<float>(R, 64, 0, 7);
        const matrix<float> placed(X.view(), ugly);
        for (const weight& W : forms(stored(N, 64, type, true)))
          for (const auto& [arch, run] : kernels_of<matmul, float>()) {
            CAPTURE(arch, info(type).name, R, N, W.interleaved() != nullptr);
            const auto plain = product<float>(run, W, X);
            CHECK(product<float>(run, W, X, {}, &threads) == plain);
            CHECK(matrix<float>(product<float>(run, W, placed, ugly).view(), placement{}) == plain);
          }
      }
}

TEST_CASE("matmul: rows that are not finite stay alone") {
  const auto X = random_rows<float>(5, 64, 0, 8);
  auto wrong = X;
  wrong.view()[2][7] = std::numeric_limits<float>::quiet_NaN();
  tensors<float> none;
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::q4_1})
    for (const weight& W : forms(stored(67, 64, type, true)))
      for (const precision numeric : {precision::exact, precision::fast})
        for (const auto& [arch, run] : kernels_of<matmul, float>()) {
          CAPTURE(arch, info(type).name, W.interleaved() != nullptr, numeric == precision::fast);
          const auto of = [&](const matrix<float>& rows) {
            return products<float>(run, W, rows.view(), {}, nullptr, numeric)(none, 0, 5, 5);
          };
          const auto Y = of(wrong), clean = of(X);
          index_t faults = 0;
          for (index_t r = 0; r < 5; ++r)
            for (index_t n = 0; n < 67; ++n)
              faults += r == 2 ? !std::isnan(Y.view()[r][n]) : Y.view()[r][n] != clean.view()[r][n];
          CHECK(faults == 0);
        }
}

TEST_CASE("matmul of no rows, and of sums that are exact") {
  const weight W = stored(5, 32, dtype::q8_0), ones = constant_weight({3, 100}, 1);
  matrix<float> X(2, 100);
  for (index_t k = 0; k < 100; ++k) X.view()[0][k] = static_cast<float>(k), X.view()[1][k] = 0.5f;
  for (const auto& [arch, run] : kernels_of<matmul, float>()) {
    CAPTURE(arch);
    CHECK(product<float>(run, W, mat_view<const float>(nullptr, 0, 32)).rows() == 0);
    const auto Y = product<float>(run, ones, X);
    for (index_t n = 0; n < 3; ++n) {
      CHECK(Y.view()[0][n] == 4950);
      CHECK(Y.view()[1][n] == 50);
    }
  }
}
