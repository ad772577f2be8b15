// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/min_gru.hpp>

#include "golden_tensors.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::golden_error;
using mneme_test::golden_matrix;
using mneme_test::matrix;

namespace {

template <class T, class Backend>
void min_gru_meets_golden_values(double bound) {
  const golden file("min_gru");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const min_gru_params p{mneme_test::golden_weight(file, name, "to_hidden_and_gate.weight"),
                           mneme_test::golden_weight(file, name, "to_out.weight")};
    const min_gru<T, Backend> m({.d_model = p.to_hidden_and_gate.dim(1),
                                 .d_inner = p.to_hidden_and_gate.dim(0) / 2,
                                 .proj_out = static_cast<bool>(p.to_out)},
                                p);
    const auto x = golden_matrix<T>(file, name, "x"), h0 = golden_matrix<T>(file, name, "h0");
    context ctx;
    auto s = m.init();
    std::copy(h0.view()[0].begin(), h0.view()[0].end(), s.h.begin());
    matrix<T> Y(x.rows(), m.d_out());
    scan(m, ctx, s, x, Y.view());
    CHECK(golden_error<T>(Y, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>({s.h.data(), 1, s.h.size()}, golden_matrix<double>(file, name, "h1")) < bound);
  }
}

}  // namespace

TEST_CASE("min_gru meets the golden values") {
  min_gru_meets_golden_values<double, native>(1e-12);
  min_gru_meets_golden_values<double, reference>(1e-12);
  min_gru_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("min_gru: scalar anchor of the specification") {
  weight w = constant_weight({2, 1}, 1);
  edit<float>(w)[1] = 0.5f;  // the gate reads half the input
  const min_gru<double> m({.d_model = 1}, {w, {}});
  CHECK(plain::error_of(m, {{1}, {-1}, {0.5}}, {{0.9336889968}, {0.6827197526}, {0.8610872519}}) < 1e-10);
}

TEST_CASE("min_gru equals its logarithmic form, and its plain form takes candidates as they are") {
  const plain::rows X = plain::random_rows(40, 6, 3);
  const min_gru<double> m({.d_model = 6}, 1), linear({.d_model = 6, .positive = false}, 1);
  plain::rows logarithmic, direct;
  plain::row a(6), log_sum(6, -std::numeric_limits<double>::infinity()), h(6);  // a: sum of log(1 - z)
  for (const plain::row& x : X) {
    const plain::row both = plain::product(m.weights().to_hidden_and_gate, x);
    logarithmic.emplace_back(), direct.emplace_back();
    for (std::size_t e = 0; e < 6; ++e) {
      const double v = both[e], k = both[6 + e], z = plain::sigmoid(k);
      a[e] -= plain::softplus(k);
      const double term = -plain::softplus(-k) + (v >= 0 ? std::log(v + 0.5) : -plain::softplus(-v)) - a[e];
      const double high = std::max(log_sum[e], term);
      log_sum[e] = high + std::log(std::exp(log_sum[e] - high) + std::exp(term - high));
      logarithmic.back().push_back(std::exp(a[e] + log_sum[e]));
      direct.back().push_back(h[e] = (1 - z) * h[e] + z * v);
    }
  }
  CHECK(plain::error_of(m, X, logarithmic) < 1e-12);
  CHECK(plain::error_of(linear, X, direct) < 1e-12);
}

TEST_CASE("min_gru: states stay between their start and the candidates") {
  const min_gru<float> m({.d_model = 17}, 2);
  auto s = m.init();
  context ctx;
  const auto X = mneme_test::random_rows<float>(60, 17, 0, 4);
  plain::row high(17);
  for (index_t t = 0; t < 60; ++t) {
    matrix<float> y(1, 17);
    step(m, ctx, s, X.view()[t], y.view()[0]);
    plain::row x(X.view()[t].begin(), X.view()[t].end());
    const plain::row both = plain::product(m.weights().to_hidden_and_gate, x);
    for (std::size_t e = 0; e < 17; ++e) {
      high[e] = std::max(high[e], both[e] >= 0 ? both[e] + 0.5 : plain::sigmoid(both[e]));
      const float h = y.view()[0][static_cast<index_t>(e)];
      CHECK(h > 0);
      CHECK(static_cast<double>(h) <= high[e] * (1 + 1e-6));
    }
  }
}

TEST_CASE("min_gru refuses impossible sizes") {
  CHECK_THROWS_WITH(min_gru<float>({.d_model = 0}),
                    "min_gru: d_model is 0 and d_inner is 0, expected positive sizes");
  CHECK_THROWS_WITH(min_gru<float>({.d_model = 4, .d_inner = 6}),
                    "min_gru: d_inner is 6, expected d_model, 4, without proj_out");
}
