// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/hippo.hpp>

#include "catch.hpp"
#include "golden.hpp"

using namespace mneme;

namespace {

using row = std::vector<double>;

double apart(const row& a, const row& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return most / scale;
}
// P_n on [0, 1]: P_n(2x - 1).
double legendre(index_t n, double x) {
  const double z = 2 * x - 1;
  double before = 0, now = 1;
  for (index_t k = 0; k < n; ++k) {
    const double next = (static_cast<double>(2 * k + 1) * z * now - static_cast<double>(k) * before) /
                        static_cast<double>(k + 1);
    before = now, now = next;
  }
  return now;
}
double series(const row& c, double x) {  // of the orthonormal polynomials
  double sum = 0;
  for (std::size_t n = 0; n < c.size(); ++n)
    sum += c[n] * std::sqrt(2 * static_cast<double>(n) + 1) * legendre(static_cast<index_t>(n), x);
  return sum;
}
row elements(const dense_matrix& m) { return {m.elements.begin(), m.elements.end()}; }
row stepped(const linear_system& s, const row& c, double f) {
  row y(c.size());
  for (index_t n = 0; n < s.A.rows; ++n) {
    double sum = s.B(n, 0) * f;
    for (index_t k = 0; k < s.A.rows; ++k) sum += s.A(n, k) * c[static_cast<std::size_t>(k)];
    y[static_cast<std::size_t>(n)] = sum;
  }
  return y;
}
// LegS on the samples f = 1, 2, 3, 4.
row legs_of_ramp(discretisation rule, index_t N) {
  row c(static_cast<std::size_t>(N));
  c[0] = 1;
  for (int k = 1; k < 4; ++k) {
    const double step = rule == discretisation::zoh ? std::log((k + 1.0) / k) : 1.0 / k;
    c = stepped(discretised(hippo_legs(N), step, rule), c, k + 1);
  }
  return c;
}

}  // namespace

TEST_CASE("hippo meets the golden values: operators and their discretisations") {
  const mneme_test::golden file("hippo");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto N = static_cast<index_t>(file.shape(name, "B").front());
    const linear_system s = name.starts_with("legs")   ? hippo_legs(N)
                            : name.starts_with("legt") ? hippo_legt(N)
                                                       : hippo_lmu(N);
    CHECK(apart(elements(s.A), file.values(name, "A")) < 1e-14);
    CHECK(apart(elements(s.B), file.values(name, "B")) < 1e-14);
    const std::pair<const char*, discretisation> rules[] = {{"zoh", discretisation::zoh},
                                                            {"bilinear", discretisation::bilinear},
                                                            {"euler", discretisation::euler},
                                                            {"backward", discretisation::backward}};
    for (const auto& [rule, how] : rules) {
      CAPTURE(rule);
      const linear_system d = discretised(s, file.value(name, "step"), how);
      CHECK(apart(elements(d.A), file.values(name, std::string("A_") + rule)) < 1e-12);
      CHECK(apart(elements(d.B), file.values(name, std::string("B_") + rule)) < 1e-12);
    }
  }
}

TEST_CASE("hippo: LegS anchors of the specification, and the linear-time update") {
  const std::pair<discretisation, row> anchors[] = {
      {discretisation::euler, {3, 1.1547005384, 0}},
      {discretisation::bilinear, {2.7142857143, 1.0722219285, -0.0638876565}},
      {discretisation::backward, {2.5, 0.8660254038, 0}},
      {discretisation::zoh, {2.5, 1.0825317547, 0}}};
  for (const auto& [rule, expected] : anchors) CHECK(apart(legs_of_ramp(rule, 3), expected) < 1e-10);

  for (const auto& [rule, a] :
       {std::pair(discretisation::euler, 0.0), std::pair(discretisation::bilinear, 0.5),
        std::pair(discretisation::backward, 1.0)}) {
    row c(7);
    c[0] = 1;
    for (index_t k = 1; k < 4; ++k) legs_update(c, static_cast<double>(k + 1), k, a);
    CHECK(apart(c, legs_of_ramp(rule, 7)) < 1e-12);
  }
}

TEST_CASE("hippo: LegT and LMU anchors of the specification; the two are one system in two scalings") {
  const linear_system t = discretised(hippo_legt(3), 0.25, discretisation::zoh),
                      u = discretised(hippo_lmu(3), 0.25, discretisation::zoh);
  row c(3), m(3);
  for (double f : {1.0, 2.0, 3.0, 4.0}) c = stepped(t, c, f), m = stepped(u, m, f);
  CHECK(apart(c, {2.4675576087, 1.1187392667, 0.0060150551}) < 1e-10);
  CHECK(apart(m, {2.4675576087, -1.9377132503, 0.0134500721}) < 1e-10);
  CHECK(apart({t.A(0, 0), t.A(0, 1), t.A(0, 2)}, {0.7633232082, 0.3555953771, -0.1446825537}) < 1e-9);
  CHECK(apart(elements(t.B), {0.2366767918, 0.3555953771, 0.1446825537}) < 1e-9);

  const linear_system legt = hippo_legt(9), lmu = hippo_lmu(9);
  for (index_t n = 0; n < 9; ++n)
    for (index_t k = 0; k < 9; ++k) {
      const auto scale = [](index_t i) {
        return (i % 2 ? -1 : 1) * std::sqrt(2 * static_cast<double>(i) + 1);
      };
      CHECK(std::abs(lmu.A(n, k) - scale(n) * legt.A(n, k) / scale(k)) < 1e-12);
    }
}

TEST_CASE("hippo: polynomials are remembered exactly") {
  constexpr index_t N = 8;
  const linear_system legs = hippo_legs(N), legt = hippo_legt(N);
  for (index_t d = 0; d < N; ++d) {
    CAPTURE(d);
    // LegS of f(t) = t^d is t^d g with d g = A g + B.
    const row g = elements(solve(dense_matrix::identity(N, static_cast<double>(d)) + -1.0 * legs.A, legs.B));
    for (const double x : {0.0, 0.3, 1.0}) CHECK(std::abs(series(g, x) - std::pow(x, d)) < 1e-12);

    // LegT: the exact projections of s^d on [t - 1, t] follow the system; a polynomial is projected by
    // interpolation.
    const auto projection = [d](double t) {
      dense_matrix basis(N, N), f(N, 1);
      for (index_t i = 0; i < N; ++i) {
        const double x = (1 - std::cos(3.14159265358979 * (static_cast<double>(i) + 0.5) / N)) / 2;
        for (index_t n = 0; n < N; ++n)
          basis(i, n) = std::sqrt(2 * static_cast<double>(n) + 1) * legendre(n, x);
        f(i, 0) = std::pow(t - 1 + x, d);
      }
      return elements(solve(basis, f));
    };
    const double t = 0.7, h = 1e-4;
    const row now = projection(t), later = projection(t + h), earlier = projection(t - h);
    const row slope = stepped(legt, now, std::pow(t, d));
    for (std::size_t n = 0; n < N; ++n) CHECK(std::abs((later[n] - earlier[n]) / (2 * h) - slope[n]) < 1e-5);
  }
}

TEST_CASE("hippo: a constant stays; impulse responses are Legendre polynomials of e^-t") {
  for (const auto rule :
       {discretisation::zoh, discretisation::bilinear, discretisation::euler, discretisation::backward}) {
    row c(5);
    c[0] = 3;
    const row next = stepped(discretised(hippo_legs(5), 0.2, rule), c, 3);
    CHECK(apart(next, c) < 1e-14);
  }
  const linear_system s = hippo_legs(12);
  for (const double t : {0.1, 0.5, 2.0}) {
    const row x = elements(matrix_exponential(t * s.A) * s.B);
    for (index_t n = 0; n < 12; ++n)
      CHECK(std::abs(x[static_cast<std::size_t>(n)] -
                     std::exp(-t) * std::sqrt(2 * static_cast<double>(n) + 1) * legendre(n, std::exp(-t))) <
            1e-10);
  }
}

TEST_CASE("hippo: eigenvalues of the normal part of LegS") {
  const auto four = legs_modes(4), eight = legs_modes(8);
  const double of_four[] = {0.5565011151, 4.6032930071};
  const double of_eight[] = {0.4274887123, 1.9577941509, 5.3542085150, 19.8574103710};
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(four[i].frequency - of_four[i]) < 1e-9);
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(eight[i].frequency - of_eight[i]) < 1e-9);
  CHECK(std::abs(four[0].input - 0.9669311699) < 1e-9);
  CHECK(std::abs(four[1].input - 2.6580150701) < 1e-9);
}

TEST_CASE("dense: solve, exponential and eigenvectors") {
  dense_matrix A(5, 5);
  for (index_t r = 0; r < 5; ++r)
    for (index_t c = 0; c < 5; ++c) A(r, c) = 1.0 / static_cast<double>(1 + r + c) - (r == c ? 2 : 0);
  A(0, 0) = 0;  // needs an exchange of rows
  CHECK(apart(elements(A * solve(A, dense_matrix::identity(5))), elements(dense_matrix::identity(5))) <
        1e-13);
  CHECK(apart(elements(matrix_exponential(A) * matrix_exponential(-1.0 * A)),
              elements(dense_matrix::identity(5))) < 1e-12);
  const symmetric_eigen e = eigen_of_symmetric(A);
  for (index_t i = 0; i < 5; ++i) {
    CHECK((i == 0 || e.values[static_cast<std::size_t>(i - 1)] <= e.values[static_cast<std::size_t>(i)]));
    dense_matrix v(5, 1);
    for (index_t k = 0; k < 5; ++k) v(k, 0) = e.vectors(k, i);
    const dense_matrix image = A * v;
    for (index_t k = 0; k < 5; ++k)
      CHECK(std::abs(image(k, 0) - e.values[static_cast<std::size_t>(i)] * v(k, 0)) < 1e-13);
  }
}
