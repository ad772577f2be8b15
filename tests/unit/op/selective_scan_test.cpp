// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/selective_scan.hpp>

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

struct parts {  // which optional inputs take part
  bool bias = true, softplus = true, D = true, z = true;
};

// All inputs of one call, each anywhere in memory, poison around it.
template <class T>
struct problem {
  matrix<T> u, delta, A, B, C, bias, D, z, h;
  index_t groups;
  bool softplus;

  problem(index_t rows, index_t E, index_t N, index_t G, parts p = {}, placement at = {})
      : groups(G), softplus(p.softplus) {
    std::uint64_t seed = 1;
    const auto draw = [&](index_t r, index_t c) {
      return matrix<T>(mneme_test::random_rows<T>(r, c, 0, ++seed).view(), at);
    };
    u = draw(rows, E), delta = draw(rows, E), A = draw(E, N), B = draw(rows, G * N), C = draw(rows, G * N);
    bias = draw(p.bias, E), D = draw(p.D, E), z = draw(p.z ? rows : 0, E), h = draw(E, N);
    for (index_t e = 0; e < E; ++e)
      for (T& a : A.view()[e]) a = -std::abs(a) - T(0.01);
    if (!p.softplus)  // without softplus, step sizes are positive as they come
      for (index_t t = 0; t < rows; ++t)
        for (T& d : delta.view()[t]) d = std::abs(d) + 5;
  }

  selective_scan_input<T> input(index_t from, index_t to, index_t outs) const {
    selective_scan_input<T> in{.u = u.view().range(from, to),
                               .delta = delta.view().range(from, to),
                               .A = A,
                               .B = B.view().range(from, to),
                               .C = C.view().range(from, to),
                               .groups = groups,
                               .delta_softplus = softplus};
    if (bias.rows() > 0) in.delta_bias = bias.view()[0];
    if (D.rows() > 0) in.D = D.view()[0];
    if (z.rows() > 0) in.z = z.view().range(to - outs, to);
    return in;
  }
  // Tokens [from, to), the last outs outputs.
  template <class Backend>
  matrix<T> run(matrix<T>& state, index_t from, index_t to, index_t outs, placement at = {}) const {
    context ctx;
    matrix<T> y(outs, u.cols(), at);
    kernel<selective_scan, Backend>::template run<T>(ctx, input(from, to, outs), state.view(), y.view());
    CHECK(y.surrounding_untouched());
    CHECK(state.surrounding_untouched());
    return y;
  }
  index_t rows() const { return u.rows(); }
};

template <class T>
problem<double> widened(const problem<T>& p) {
  problem<double> w(0, 1, 1, 1);
  const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
  w.u = wide(p.u), w.delta = wide(p.delta), w.A = wide(p.A), w.B = wide(p.B), w.C = wide(p.C);
  w.bias = wide(p.bias), w.D = wide(p.D), w.z = wide(p.z), w.h = wide(p.h);
  w.groups = p.groups, w.softplus = p.softplus;
  return w;
}

template <class T>
mneme_test::tolerance allowed(index_t rows, index_t N) {
  return {.eps = mneme_test::epsilon<T>, .rows = rows, .width = N};
}

template <class T, class Arch>
void agrees_with_reference(index_t rows, index_t E, index_t N, index_t G, parts p, placement at) {
  CAPTURE(rows, E, N, G, p.bias, p.softplus, p.D, p.z, at.gap, at.shift);
  const problem<T> given(rows, E, N, G, p, at);
  const problem<double> oracle = widened(given);
  matrix<T> h = given.h;
  matrix<double> h_oracle = oracle.h;
  const auto y = given.template run<cpu<Arch>>(h, 0, rows, rows, at);
  const auto expected = oracle.template run<reference>(h_oracle, 0, rows, rows);
  const auto tolerance = allowed<T>(rows, N);
  CHECK(mneme_test::difference<T, double>(y, expected, tolerance) == "");
  CHECK(mneme_test::difference<T, double>(h, h_oracle, tolerance) == "");
}

// A problem with the tensors of one golden case.
template <class T>
problem<T> golden_problem(const golden& file, const std::string& name) {
  problem<T> p(0, 1, 1, 1);
  const auto tensor = [&](const char* what) {
    if (!file.has(name, what)) return matrix<T>(0, 0);
    const auto shape = file.shape(name, what);
    const auto values = file.values(name, what);
    const auto n = static_cast<index_t>(values.size()), rows = shape.size() == 1 ? 1 : shape[0];
    matrix<T> m(rows, n / rows);
    for (index_t i = 0; i < n; ++i) m.view().data()[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
    return m;
  };
  p.u = tensor("u"), p.delta = tensor("delta"), p.A = tensor("A"), p.B = tensor("B"), p.C = tensor("C");
  p.bias = tensor("delta_bias"), p.D = tensor("D"), p.z = tensor("z"), p.h = tensor("h0");
  p.groups = std::stoi(file.flag(name, "groups"));
  p.softplus = file.flag(name, "delta_softplus") == "1";
  return p;
}

double largest_error(const double* got, const std::vector<double>& expected) {
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error = std::max(error, std::abs(got[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return error / scale;
}

template <class T, class Backend>
void meets_golden_values(double bound) {
  const golden file("selective_scan");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto p = golden_problem<T>(file, name);
    matrix<T> h = p.h;
    const auto y = p.template run<Backend>(h, 0, p.rows(), p.rows());
    const auto wide_y = mneme_test::widened<T>(y.view()), wide_h = mneme_test::widened<T>(h.view());
    CHECK(largest_error(wide_y.view().data(), file.values(name, "y")) < bound);
    CHECK(largest_error(wide_h.view().data(), file.values(name, "h1")) < bound);
  }
}

constexpr placement ugly{.gap = 3, .shift = 1};

}  // namespace

TEST_CASE("selective_scan reference meets the golden values") {
  meets_golden_values<double, reference>(1e-12);
}

TEMPLATE_LIST_TEST_CASE("selective_scan meets the golden values", "", test_archs) {
  meets_golden_values<double, cpu<TestType>>(1e-12);
  meets_golden_values<float, cpu<TestType>>(2e-5);
}

// Anchor N5 of the specification: one channel, computed by hand.
TEST_CASE("selective_scan, three tokens computed by hand") {
  const std::vector<double> u{1, -1, .5}, delta{0, 1, -1}, A{-1, -2}, B{1, .5, .2, -1, .3, .4},
      C{1, 1, .5, -.5, -1, 2}, bias{.1}, D{.5}, z{1, .5, -.5};
  std::vector<double> h(2), y(3);
  const selective_scan_input<double> in{.u = {u.data(), 3, 1},
                                        .delta = {delta.data(), 3, 1},
                                        .A = {A.data(), 1, 2},
                                        .B = {B.data(), 3, 2},
                                        .C = {C.data(), 3, 2},
                                        .delta_bias = bias,
                                        .D = D,
                                        .z = {z.data(), 3, 1}};
  context ctx;
  kernel<selective_scan, reference>::run<double>(ctx, in, {h.data(), 1, 2}, {y.data(), 3, 1});
  CHECK(largest_error(y.data(), {1.1818256357, -0.3893655635, -0.3447524217}) < 1e-10);
  CHECK(largest_error(h.data(), {-0.0139225371, 0.7811918040}) < 1e-10);
}

TEMPLATE_LIST_TEST_CASE("selective_scan agrees with its reference", "", test_archs) {
  for (const index_t N : {1, 3, 16, 17, 35})
    for (const index_t E : {1, 7, 34}) {
      agrees_with_reference<float, TestType>(5, E, N, 1, {}, ugly);
      agrees_with_reference<double, TestType>(5, E, N, 1, {}, ugly);
    }
  for (const parts p : {parts{false, false, false, false}, parts{.bias = false}, parts{.softplus = false},
                        parts{.D = false}, parts{.z = false}})
    agrees_with_reference<float, TestType>(4, 19, 5, 1, p, {});
  agrees_with_reference<float, TestType>(3, 6, 5, 3, {}, ugly);
  agrees_with_reference<float, TestType>(3, 54, 16, 2, {}, ugly);   // groups that end inside a pack
  agrees_with_reference<float, TestType>(2, 300, 16, 5, {}, ugly);  // and inside a slice
  agrees_with_reference<float, TestType>(211, 17, 16, 1, {}, {});
}

TEMPLATE_LIST_TEST_CASE("selective_scan is bit-equal however tokens are split into calls", "", test_archs) {
  using backend = cpu<TestType>;
  const problem<float> p(11, 37, 19, 1, {}, ugly);
  matrix<float> whole_h = p.h;
  const auto whole = p.run<backend>(whole_h, 0, 11, 11);
  for (index_t cut = 0; cut <= 11; ++cut) {
    CAPTURE(cut);
    matrix<float> h = p.h;
    p.run<backend>(h, 0, cut, 0);  // nobody reads these outputs
    const auto rest = p.run<backend>(h, cut, 11, 11 - cut);
    CHECK(mneme_test::bit_difference<float>(rest, whole.view().last(11 - cut)) == "");
    CHECK(h == whole_h);
    h = p.h;
    CHECK(mneme_test::bit_difference<float>(p.run<backend>(h, 0, 11, cut), whole.view().last(cut)) == "");
    CHECK(h == whole_h);
  }
}

TEMPLATE_LIST_TEST_CASE("selective_scan may write its outputs over the gate", "", test_archs) {
  const problem<float> p(4, 21, 16, 1);
  matrix<float> h = p.h, h_in_place = p.h, y = p.z;
  const auto expected = p.run<cpu<TestType>>(h, 0, 4, 4);
  auto in = p.input(0, 4, 4);
  in.z = y;
  context ctx;
  kernel<selective_scan, cpu<TestType>>::template run<float>(ctx, in, h_in_place.view(), y.view());
  CHECK(y == expected);
}

TEMPLATE_LIST_TEST_CASE("selective_scan: step sizes at the ends of the range", "", test_archs) {
  problem<float> p(1, 18, 16, 1, {.bias = false});
  const auto with_delta = [&](float value) {
    for (float& d : p.delta.view()[0]) d = value;
    matrix<float> h = p.h;
    p.run<cpu<TestType>>(h, 0, 1, 1);
    return h;
  };
  CHECK(with_delta(-200) == p.h);  // dt = 0: nothing is forgotten, nothing enters
  const auto forgotten = with_delta(1e6f);
  for (index_t e = 0; e < 18; ++e)
    for (index_t n = 0; n < 16; ++n) {
      const float expected = 1e6f * p.u.view()[0][e] * p.B.view()[0][n];
      CHECK(forgotten.view()[e][n] == Approx(expected).epsilon(1e-6));
    }
}

TEMPLATE_LIST_TEST_CASE("selective_scan: equal groups are no groups, and outputs are linear in u", "",
                        test_archs) {
  using backend = cpu<TestType>;
  problem<double> one(6, 12, 5, 1);
  problem<double> three = one;
  three.groups = 3;
  three.B = matrix<double>(6, 15), three.C = matrix<double>(6, 15);
  for (index_t t = 0; t < 6; ++t)
    for (index_t i = 0; i < 15; ++i) {
      three.B.view()[t][i] = one.B.view()[t][i % 5];
      three.C.view()[t][i] = one.C.view()[t][i % 5];
    }
  matrix<double> h = one.h, h_three = one.h;
  const auto y = one.run<backend>(h, 0, 6, 6);
  const auto y_three = three.run<backend>(h_three, 0, 6, 6);
  const auto tolerance = allowed<double>(6, 5);
  CHECK(mneme_test::difference<double, double>(y_three, y, tolerance) == "");
  CHECK(mneme_test::difference<double, double>(h_three, h, tolerance) == "");

  problem<double> doubled = one;  // u and the start state twice as large
  for (matrix<double>* m : {&doubled.u, &doubled.h})
    for (index_t r = 0; r < m->rows(); ++r)
      for (double& x : m->view()[r]) x *= 2;
  matrix<double> h_doubled = doubled.h;
  auto y_doubled = doubled.run<backend>(h_doubled, 0, 6, 6);
  for (index_t t = 0; t < 6; ++t)
    for (double& x : y_doubled.view()[t]) x /= 2;
  CHECK(mneme_test::difference<double, double>(y_doubled, y, tolerance) == "");
}

TEMPLATE_LIST_TEST_CASE("selective_scan: the state stays within the bound of a fading memory", "",
                        test_archs) {
  const problem<double> p(64, 9, 7, 1);
  matrix<double> h = p.h;
  p.run<cpu<TestType>>(h, 0, 64, 0);
  for (index_t e = 0; e < 9; ++e)
    for (index_t n = 0; n < 7; ++n) {
      double bound = std::abs(p.h.view()[e][n]), drive = 0, slowest = 1;
      for (index_t t = 0; t < 64; ++t) {
        const double dt = std::log1p(std::exp(p.delta.view()[t][e] + p.bias.view()[0][e]));
        drive = std::max(drive, std::abs(dt * p.B.view()[t][n] * p.u.view()[t][e]));
        slowest = std::min(slowest, -std::expm1(dt * p.A.view()[e][n]));
      }
      bound = std::max(bound, drive / slowest);
      CHECK(std::abs(h.view()[e][n]) <= bound * (1 + 1e-12));
    }
}
