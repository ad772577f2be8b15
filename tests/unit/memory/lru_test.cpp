// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/lru.hpp>
#include <mneme/op/convolve_fft.hpp>

#include "golden_tensors.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::golden_error;
using mneme_test::golden_matrix;
using mneme_test::matrix;

namespace {

template <class T, class Backend>
void lru_meets_golden_values(double bound) {
  const golden file("lru");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    lru_params p;
    lru_params::fields(
        [&](std::string_view what, weight& w) { w = mneme_test::golden_weight(file, name, what); }, p);
    const lru<T, Backend> m({.d_model = p.D.dim(0), .d_hidden = p.nu_log.dim(0)}, p);
    const auto x = golden_matrix<T>(file, name, "x");
    context ctx;
    auto s = m.init();
    matrix<T> Y(x.rows(), x.cols());
    scan(m, ctx, s, x, Y.view());
    CHECK(golden_error<T>(Y, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>({s.h.data(), 1, s.h.size()}, golden_matrix<double>(file, name, "h1")) < bound);
  }
}
weight exact(std::initializer_list<double> v) {
  weight w = weight::zeros<double>(static_cast<index_t>(v.size()));
  std::copy(v.begin(), v.end(), edit<double>(w));
  return w;
}

}  // namespace

TEST_CASE("lru meets the golden values") {
  lru_meets_golden_values<double, native>(1e-12);
  lru_meets_golden_values<double, reference>(1e-12);
  lru_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("lru: scalar anchor of the specification") {
  const auto gamma = [](double nu) { return std::log(1 - std::exp(-2 * std::exp(nu))) / 2; };
  const lru<double> m({.d_model = 1, .d_hidden = 2},
                      {exact({-1, 0.5}), exact({-1, 0}), exact({gamma(-1), gamma(0)}),
                       constant_weight({2, 1}, 1), constant_weight({2, 1}, 0.5), constant_weight({1, 2}, 1),
                       constant_weight({1, 2}, -1), constant_weight({1}, 0.5)});
  CHECK(plain::error_of(m, {{1}, {-1}, {0.5}}, {{2.9773679340}, {-2.0577498776}, {0.8733838948}}) < 1e-9);
}

TEST_CASE("lru: recurrence, convolution and scan agree") {
  constexpr index_t rows = 70, D = 3;
  const lru<double> m({.d_model = D, .d_hidden = 5, .r_min = 0.8, .r_max = 0.99}, 5);
  const auto X = mneme_test::random_rows<double>(rows, D, 0, 6);
  matrix<double> scanned(rows, D), stepped = scanned, convolved(rows, D, {}, 0.0);
  context ctx;
  auto s = m.init(), r = m.init();
  scan(m, ctx, s, X, scanned.view());
  for (index_t t = 0; t < rows; ++t) step(m, ctx, r, X.view()[t], stepped.view()[t]);
  CHECK(mneme_test::same_bits(scanned.view().data(), stepped.view().data(), rows * D));
  CHECK(r == s);

  const buffer<double> K = m.kernel(rows);
  for (index_t o = 0; o < D; ++o) {  // the D inputs as channels, then their sum
    matrix<double> parts(rows, D);
    convolve_fft<double>(ctx, {K.data() + o * D * rows, D, rows}, X, parts.view());
    for (index_t t = 0; t < rows; ++t) {
      double& y = convolved.view()[t][o] =
          static_cast<double>(data<float>(m.weights().D)[o]) * X.view()[t][o];
      for (const double part : parts.view()[t]) y += part;
    }
  }
  CHECK(golden_error<double>(convolved, scanned) < 1e-12);
}

TEST_CASE("lru: seeded eigenvalues lie in their ring, and gamma normalises") {
  const lru<double> m({.d_model = 2, .d_hidden = 50, .r_min = 0.6, .r_max = 0.9, .max_phase = 0.5}, 9);
  const lru_params& p = m.weights();
  for (index_t n = 0; n < 50; ++n) {
    const double radius = std::exp(-std::exp(static_cast<double>(data<float>(p.nu_log)[n])));
    CHECK((radius >= 0.6 - 1e-6 && radius <= 0.9 + 1e-6));
    CHECK(data<float>(p.theta_log)[n] <= std::log(0.5f) + 1e-6f);
    const double gamma = std::exp(static_cast<double>(data<float>(p.gamma_log)[n]));
    CHECK(std::abs(gamma * gamma - (1 - radius * radius)) < 1e-6);
  }
  CHECK_THROWS_WITH(lru<float>({.d_model = 2, .d_hidden = 0}),
                    "lru: d_model is 2 and d_hidden is 0, expected at least 1");
  CHECK_THROWS_AS(lru<float>({.r_min = 0.9, .r_max = 0.5}), error);
}

TEST_CASE("lru: an impulse fades as the radius to the power of its age") {
  constexpr double nu = -2;
  lru_params p = lru<double>({.d_model = 1, .d_hidden = 1}).weights();
  p.nu_log = exact({nu});
  const lru<double> m({.d_model = 1, .d_hidden = 1}, p);
  auto s = m.init();
  s.h[0] = 3, s.h[1] = 4;
  context ctx;
  const matrix<double> x(20, 1, {}, 0.0);
  observe(m, ctx, s, x);
  CHECK(std::abs(std::hypot(s.h[0], s.h[1]) - 5 * std::exp(-20 * std::exp(nu))) < 1e-13);
}
