// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/causal_conv.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "golden.hpp"
#include "laws/compare.hpp"

#include <string>

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::test_archs;

namespace {

template <class T>
struct problem {
  matrix<T> x, w, bias, past;
  bool silu;

  problem(index_t rows, index_t C, index_t K, bool with_bias, bool with_silu, placement at = {})
      : silu(with_silu) {
    std::uint64_t seed = 1;
    const auto draw = [&](index_t r) {
      return matrix<T>(mneme_test::random_rows<T>(r, C, 0, ++seed).view(), at);
    };
    x = draw(rows), w = draw(K), bias = draw(with_bias), past = draw(K - 1);
  }

  // Rows [from, to), the last outs outputs.
  template <class Backend>
  matrix<T> run(matrix<T>& state, index_t from, index_t to, index_t outs, placement at = {}) const {
    causal_conv_taps<T> taps{.w = w, .silu = silu};
    if (bias.rows() > 0) taps.bias = bias.view()[0];
    context ctx;
    matrix<T> y(outs, x.cols(), at);
    kernel<causal_conv, Backend>::template run<T>(ctx, taps, x.view().range(from, to), state.view(),
                                                  y.view());
    CHECK(y.surrounding_untouched());
    CHECK(state.surrounding_untouched());
    return y;
  }
};

template <class T, class Arch>
void agrees_with_reference(index_t rows, index_t C, index_t K, bool bias, bool silu, placement at) {
  CAPTURE(rows, C, K, bias, silu, at.gap, at.shift);
  const problem<T> given(rows, C, K, bias, silu, at);
  problem<double> oracle(0, 1, 1, bias, silu);
  const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
  oracle.x = wide(given.x), oracle.w = wide(given.w), oracle.bias = wide(given.bias),
  oracle.past = wide(given.past);
  matrix<T> past = given.past;
  matrix<double> past_oracle = oracle.past;
  const auto y = given.template run<cpu<Arch>>(past, 0, rows, rows, at);
  const auto expected = oracle.template run<reference>(past_oracle, 0, rows, rows);
  const mneme_test::tolerance tolerance{.eps = mneme_test::epsilon<T>, .rows = 0, .width = K};
  CHECK(mneme_test::difference<T, double>(y, expected, tolerance) == "");
  CHECK(mneme_test::bit_difference<double>(wide(past), past_oracle) == "");
}

template <class T, class Backend>
void meets_golden_values(double bound) {
  const golden file("causal_conv1d");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    problem<T> p(0, 1, 1, false, file.flag(name, "activation") == "silu");
    const auto tensor = [&](const char* what, index_t rows, index_t cols) {
      const auto values = file.values(name, what);
      matrix<T> m(rows, cols);
      for (index_t i = 0; i < rows * cols; ++i)
        m.view().data()[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
      return m;
    };
    const auto shape = file.shape(name, "weight");
    const index_t C = shape[0], K = shape[1], rows = file.shape(name, "x")[0];
    p.x = tensor("x", rows, C), p.past = tensor("state0", K - 1, C);
    if (file.has(name, "bias")) p.bias = tensor("bias", 1, C);
    const matrix<T> weight = tensor("weight", C, K);
    p.w = matrix<T>(K, C);
    for (index_t c = 0; c < C; ++c)
      for (index_t j = 0; j < K; ++j) p.w.view()[j][c] = weight.view()[c][j];

    const auto y = p.template run<Backend>(p.past, 0, rows, rows);
    const auto expected = file.values(name, "y"), state = file.values(name, "state1");
    double scale = 0;
    for (const double v : expected) scale = std::max(scale, std::abs(v));
    for (index_t i = 0; i < rows * C; ++i)
      CHECK(std::abs(static_cast<double>(y.view().data()[i]) - expected[static_cast<std::size_t>(i)]) <
            bound * scale);
    for (index_t i = 0; i < (K - 1) * C; ++i)
      CHECK(static_cast<double>(p.past.view().data()[i]) == state[static_cast<std::size_t>(i)]);
  }
}

constexpr placement ugly{.gap = 3, .shift = 1};

}  // namespace

TEST_CASE("causal_conv reference meets the golden values") { meets_golden_values<double, reference>(1e-12); }

TEMPLATE_LIST_TEST_CASE("causal_conv meets the golden values", "", test_archs) {
  meets_golden_values<double, cpu<TestType>>(1e-12);
  meets_golden_values<float, cpu<TestType>>(2e-6);
}

TEMPLATE_LIST_TEST_CASE("causal_conv agrees with its reference", "", test_archs) {
  for (const index_t K : {1, 2, 3, 4, 7})
    for (const index_t C : {1, 16, 35})
      for (const index_t rows : {1, 2, 5, 13}) {
        agrees_with_reference<float, TestType>(rows, C, K, true, true, ugly);
        agrees_with_reference<double, TestType>(rows, C, K, false, true, {});
        agrees_with_reference<float, TestType>(rows, C, K, false, false, {});
      }
  agrees_with_reference<float, TestType>(3, 1037, 4, true, false, ugly);  // more channels than a slice
}

TEMPLATE_LIST_TEST_CASE("causal_conv is bit-equal however rows are split into calls", "", test_archs) {
  using backend = cpu<TestType>;
  for (const index_t K : {1, 4, 6}) {
    const problem<float> p(9, 21, K, true, true, ugly);
    matrix<float> whole_past = p.past;
    const auto whole = p.run<backend>(whole_past, 0, 9, 9);
    for (index_t cut = 0; cut <= 9; ++cut) {
      CAPTURE(K, cut);
      matrix<float> past = p.past;
      p.run<backend>(past, 0, cut, 0);
      CHECK(mneme_test::bit_difference<float>(p.run<backend>(past, cut, 9, 9 - cut),
                                              whole.view().last(9 - cut)) == "");
      CHECK(past == whole_past);
    }
    matrix<float> past = p.past;
    for (index_t t = 0; t < 9; ++t)
      CHECK(mneme_test::bit_difference<float>(p.run<backend>(past, t, t + 1, 1),
                                              whole.view().range(t, t + 1)) == "");
    CHECK(past == whole_past);
  }
}

TEMPLATE_LIST_TEST_CASE("causal_conv: a single tap delays its input", "", test_archs) {
  for (const index_t K : {4, 5})
    for (index_t j = 0; j < K; ++j) {
      CAPTURE(K, j);
      problem<float> p(8, 17, K, false, false);
      for (index_t i = 0; i < K; ++i)
        for (float& w : p.w.view()[i]) w = i == j ? 1.0f : 0.0f;
      matrix<float> past = p.past;
      const auto y = p.run<cpu<TestType>>(past, 0, 8, 8);
      for (index_t t = 0; t < 8; ++t)
        for (index_t c = 0; c < 17; ++c) {
          const index_t at = t - (K - 1) + j;
          CHECK(y.view()[t][c] == (at < 0 ? p.past.view()[at + K - 1][c] : p.x.view()[at][c]));
        }
    }
}
