// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gru.hpp>

#include "golden_tensors.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::golden_error;
using mneme_test::golden_matrix;
using mneme_test::matrix;

namespace {

template <class T, class Backend>
void gru_meets_golden_values(double bound) {
  const golden file("gru");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    const gru_params p{tensor("weight_ih_l0"), tensor("weight_hh_l0"), tensor("bias_ih_l0"),
                       tensor("bias_hh_l0")};
    const gru<T, Backend> m({.d_in = p.weight_ih.dim(1), .d_hidden = p.weight_hh.dim(1)}, p);
    const auto x = golden_matrix<T>(file, name, "x"), h0 = golden_matrix<T>(file, name, "h0");
    context ctx;
    auto s = m.init();
    std::copy(h0.view()[0].begin(), h0.view()[0].end(), s.h.begin());
    auto stepped = s;
    matrix<T> Y(x.rows(), m.d_out()), Z = Y;
    scan(m, ctx, s, x, Y.view());
    for (index_t t = 0; t < x.rows(); ++t) step(m, ctx, stepped, x.view()[t], Z.view()[t]);
    CHECK(golden_error<T>(Y, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>(Z, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>({s.h.data(), 1, m.d_out()}, golden_matrix<double>(file, name, "h1")) < bound);
  }
}

}  // namespace

TEST_CASE("gru meets the golden values of torch, scanned and stepped") {
  gru_meets_golden_values<double, native>(1e-12);
  gru_meets_golden_values<double, reference>(1e-12);
  gru_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("gru: scalar anchor of the specification") {
  weight b = constant_weight({3}, 0);
  edit<float>(b)[2] = 0.1f;
  const gru<double> m(
      {.d_in = 1, .d_hidden = 1},
      {constant_weight({3, 1}, 0.5), constant_weight({3, 1}, 0.25), constant_weight({3}, 0), b});
  CHECK(plain::error_of(m, {{1}, {-1}, {0.5}}, {{0.1924105518}, {-0.1791589447}, {0.0239397189}}) < 1e-8);
}

TEST_CASE("gru: outputs stay within (-1, 1); tensors under torch's names; errors say what is wrong") {
  const gru<float> m({.d_in = 4, .d_hidden = 9}, 3);
  auto s = m.init();
  context ctx;
  auto X = mneme_test::random_rows<float>(50, 4, 0, 5);
  for (index_t t = 0; t < 50; ++t) {
    for (float& x : X.view()[t]) x *= 100;
    matrix<float> y(1, 9);
    step(m, ctx, s, X.view()[t], y.view()[0]);
    for (float v : y.view()[0]) CHECK(std::abs(v) <= 1);
  }
  std::string names;
  visit_fields(
      [&](const field_path& at, const weight& w) { names += at.text() + shape_text(w.shape()) + " "; },
      m.weights());
  CHECK(names == "weight_ih_l0[27, 4] weight_hh_l0[27, 9] bias_ih_l0[27] bias_hh_l0[27] ");

  CHECK_THROWS_WITH(gru<float>({.d_in = 0, .d_hidden = 2}),
                    "gru: d_in is 0 and d_hidden is 2, expected at least 1");
  auto p = m.weights();
  p.bias_hh = {};
  CHECK_THROWS_WITH(gru<float>({.d_in = 4, .d_hidden = 9}, p),
                    "gru: tensor bias_hh_l0 has shape [], expected [27]");
}
