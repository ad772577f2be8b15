// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/lstm.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

// See matmul_test: gcc contracts products and sums of narrower architectures in a unit with FMA.
using bit_stable_archs = std::tuple<simd::scalar, simd::native>;

template <class T>
struct problem {
  weight W;           // [4 H, H]
  matrix<T> P, h, c;  // [T, 4 H], [1, H], [1, H]

  static problem random(index_t rows, index_t H, dtype type = dtype::f32, placement at = {}) {
    const auto draw = [&](index_t r, index_t n, std::uint64_t seed) {
      return matrix<T>(random_rows<T>(r, n, 0, seed).view(), at);
    };
    return {stored_as(uniform_weight({4 * H, H}, H, random_stream(1, 9)), type), draw(rows, 4 * H, 2),
            draw(1, H, 3), draw(1, H, 4)};
  }
  problem<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {W, wide(P), wide(h), wide(c)};
  }
  // Rows [from, to) on h and c in place; the last outs outputs.
  template <class Backend>
  matrix<T> run(index_t from, index_t to, index_t outs, placement at = {}) {
    context ctx;
    matrix<T> Y(outs, h.cols(), at);
    kernel<lstm_recurrence, Backend>::template run<T>(ctx, W, P.view().range(from, to), h.view()[0],
                                                      c.view()[0], Y.view());
    CHECK(Y.surrounding_untouched());
    CHECK(h.surrounding_untouched());
    CHECK(c.surrounding_untouched());
    return Y;
  }
  template <class Backend>
  matrix<T> run(placement at = {}) {
    return run<Backend>(0, P.rows(), P.rows(), at);
  }
};

// The input part of the gates of a golden case: W_ih x + b_ih + b_hh in double.
template <class T>
problem<T> golden_problem(const golden& file, const std::string& name) {
  const auto tensor = [&](const char* what) { return mneme_test::golden_matrix<double>(file, name, what); };
  const auto x = tensor("x"), W = tensor("weight_ih_l0"), b = tensor("bias_ih_l0"),
             also = tensor("bias_hh_l0");
  matrix<T> P(x.rows(), W.rows());
  for (index_t t = 0; t < x.rows(); ++t)
    for (index_t n = 0; n < W.rows(); ++n) {
      double sum = b.view()[0][n] + also.view()[0][n];
      for (index_t k = 0; k < x.cols(); ++k) sum += W.view()[n][k] * x.view()[t][k];
      P.view()[t][n] = static_cast<T>(sum);
    }
  return {mneme_test::golden_weight(file, name, "weight_hh_l0"), P,
          mneme_test::golden_matrix<T>(file, name, "h0"), mneme_test::golden_matrix<T>(file, name, "c0")};
}
template <class T, class Backend>
void meets_golden_values(double bound) {
  const golden file("lstm");
  CHECK(file.cases().size() == 4);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    auto p = golden_problem<T>(file, name);
    const auto y = p.template run<Backend>();
    const auto expected = [&](const char* what) {
      return mneme_test::golden_matrix<double>(file, name, what);
    };
    CHECK(mneme_test::golden_error<T>(y, expected("y")) < bound);
    CHECK(mneme_test::golden_error<T>(p.h, expected("h1")) < bound);
    CHECK(mneme_test::golden_error<T>(p.c, expected("c1")) < bound);
  }
}

template <class Arch, class T>
void agrees_with_reference(index_t rows, index_t H, dtype type, placement at) {
  CAPTURE(rows, H, info(type).name, sizeof(T));
  auto p = problem<T>::random(rows, H, type, at);
  auto oracle = p.widened();
  const auto y = p.template run<cpu<Arch>>(at);
  const auto expected = oracle.template run<reference>();
  const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<T>, .rows = rows, .width = H};
  CHECK(mneme_test::difference<T, double>(y, expected, allowed) == "");
  CHECK(mneme_test::difference<T, double>(p.h, oracle.h, allowed) == "");
  CHECK(mneme_test::difference<T, double>(p.c, oracle.c, allowed) == "");
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("sums: the sum of each of width packs", "", test_archs) {
  const auto check = []<class T>(T) {
    using P = simd::pack<T, TestType>;
    constexpr index_t W = simd::width<P>;
    T x[W][W], sum[W];
    P packs[W];
    for (index_t i = 0; i < W; ++i) {
      for (index_t j = 0; j < W; ++j) x[i][j] = static_cast<T>(100 * i + j * (i + 3));  // sums are exact
      packs[i] = simd::load<P>(x[i]);
    }
    simd::store(sum, simd::sums(packs));
    for (index_t i = 0; i < W; ++i) {
      T expected = 0;
      for (T v : x[i]) expected += v;
      CHECK(sum[i] == expected);
    }
  };
  check(float{});
  check(double{});
}

TEST_CASE("lstm reference meets the golden values") { meets_golden_values<double, reference>(1e-12); }

TEMPLATE_LIST_TEST_CASE("lstm meets the golden values", "", test_archs) {
  meets_golden_values<double, cpu<TestType>>(1e-12);
  meets_golden_values<float, cpu<TestType>>(2e-5);
}

TEMPLATE_LIST_TEST_CASE("lstm agrees with its reference", "", test_archs) {
  constexpr placement ugly{.gap = 3, .shift = 1};
  for (const index_t H : {1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 48, 67})
    for (const index_t rows : {1, 9}) {
      agrees_with_reference<TestType, float>(rows, H, dtype::f32, ugly);
      agrees_with_reference<TestType, double>(rows, H, dtype::f32, {});
    }
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    agrees_with_reference<TestType, float>(7, 64, type, {});
    agrees_with_reference<TestType, double>(7, 32, type, ugly);
  }
}

TEMPLATE_LIST_TEST_CASE("lstm is bit-equal however rows are split into calls", "", bit_stable_archs) {
  using backend = cpu<TestType>;
  for (const index_t H : {5, 21}) {
    const auto start = problem<float>::random(8, H);
    auto whole = start;
    const auto y = whole.run<backend>();
    for (index_t cut = 0; cut <= 8; ++cut) {
      CAPTURE(H, cut);
      auto split = start;
      split.run<backend>(0, cut, 0);
      const auto last = split.run<backend>(cut, 8, 8 - cut);
      CHECK(mneme_test::bit_difference<float>(last, y.view().range(cut, 8)) == "");
      CHECK(split.h == whole.h);
      CHECK(split.c == whole.c);
    }
    for (index_t outs = 0; outs <= 8; ++outs) {
      auto some = start;
      CHECK(mneme_test::bit_difference<float>(some.run<backend>(0, 8, outs), y.view().last(outs)) == "");
      CHECK(some.c == whole.c);
    }
  }
}

TEST_CASE("lstm: scalar anchor of the specification") {
  // W = 0.5 on the input, U = 0.25, no bias, inputs 1, -1, 0.5.
  const weight U = constant_weight({4, 1}, 0.25);
  matrix<double> P(3, 4), h(1, 1, {}, 0.0), c(1, 1, {}, 0.0);
  const double x[] = {1, -1, 0.5};
  for (index_t t = 0; t < 3; ++t)
    for (double& p : P.view()[t]) p = 0.5 * x[t];
  problem<double> p{U, P, h, c};
  const auto y = p.run<native>();
  CHECK(std::abs(y.view()[0][0] - 0.1742697187) < 1e-10);
  CHECK(std::abs(y.view()[1][0] + 0.0209657655) < 1e-10);
  CHECK(std::abs(y.view()[2][0] - 0.0582636685) < 1e-10);
}

TEMPLATE_LIST_TEST_CASE("lstm: open and closed gates", "", test_archs) {
  constexpr index_t H = 19;
  auto p = problem<float>::random(30, H);
  for (index_t t = 0; t < 30; ++t)
    for (index_t j = 0; j < H; ++j) p.P.view()[t][j] = -200, p.P.view()[t][H + j] = 200;  // i = 0, f = 1
  const matrix<float> before = p.c;
  const auto y = p.template run<cpu<TestType>>();
  CHECK(p.c == before);  // to the bit: nothing is written, nothing fades
  for (index_t t = 0; t < 30; ++t)
    for (float v : y.view()[t]) CHECK(std::abs(v) < 1);
}

TEMPLATE_LIST_TEST_CASE("lstm: NaN enters with its row, and stays", "", test_archs) {
  auto p = problem<float>::random(4, 17);
  const auto clean = problem<float>(p).run<cpu<TestType>>();
  for (float& v : p.P.view()[2]) v = std::numeric_limits<float>::quiet_NaN();
  const auto y = p.run<cpu<TestType>>();
  CHECK(mneme_test::bit_difference<float>(y.view().first(2), clean.view().first(2)) == "");
  for (index_t t = 2; t < 4; ++t)
    for (float v : y.view()[t]) CHECK(std::isnan(v));
}
