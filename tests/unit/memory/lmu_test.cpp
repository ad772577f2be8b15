// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/lmu.hpp>
#include <mneme/op/convolve_fft.hpp>

#include "golden_tensors.hpp"
#include "plain_layer.hpp"

#include <numbers>

using namespace mneme;
using mneme_test::golden;
using mneme_test::golden_error;
using mneme_test::golden_matrix;
using mneme_test::matrix;

namespace {

template <class T, class Backend>
void lmu_meets_golden_values(double bound) {
  const golden file("lmu");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    lmu_params p;
    lmu_params::fields(
        [&](std::string_view what, weight& w) { w = mneme_test::golden_weight(file, name, what); }, p);
    const auto x = golden_matrix<T>(file, name, "x");
    const auto on = [&](const char* flag) { return file.flag(name, flag) == "1"; };
    const lmu<T, Backend> m(
        {.d_in = x.cols(),
         .d_hidden = p.hidden_bias ? p.hidden_bias.dim(0) : 0,
         .memory_d = p.kernel.dim(0),
         .order = std::stoi(file.flag(name, "order")),
         .theta = std::stod(file.flag(name, "theta")),
         .memory_to_memory = on("memory_to_memory"),
         .hidden_to_memory = on("hidden_to_memory"),
         .input_to_hidden = on("input_to_hidden"),
         .bias = true,
         .rule = file.flag(name, "rule") == "zoh" ? discretisation::zoh : discretisation::euler},
        p);
    context ctx;
    auto s = m.init();
    const auto start = [&](const char* what, buffer<T>& to) {
      const auto from = golden_matrix<T>(file, name, what);
      std::copy(from.view()[0].begin(), from.view()[0].end(), to.begin());
    };
    start("m0", s.m);
    if (s.h.size() > 0) start("h0", s.h);
    matrix<T> Y(x.rows(), m.d_out());
    scan(m, ctx, s, x, Y.view());
    CHECK(golden_error<T>(Y, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>({s.m.data(), 1, s.m.size()}, golden_matrix<double>(file, name, "m1")) < bound);
  }
}
lmu<double> delay_line(index_t order, double theta) {
  return lmu<double>({.order = order, .theta = theta}, {constant_weight({1, 1}, 1), {}, {}, {}, {}, {}});
}
// P_n(2r - 1)
double legendre(index_t n, double r) {
  const double z = 2 * r - 1;
  double before = 0, now = 1;
  for (index_t k = 0; k < n; ++k) {
    const auto i = static_cast<double>(k);
    const double next = ((2 * i + 1) * z * now - i * before) / (i + 1);
    before = now, now = next;
  }
  return now;
}
// The largest error of a sine that is read back from the last theta tokens.
double delay_error(index_t order) {
  constexpr double theta = 50;
  const auto m = delay_line(order, theta);
  context ctx;
  auto s = m.init();
  matrix<double> X(400, 1), Y(400, order);
  for (index_t t = 0; t < 400; ++t) X.view()[t][0] = std::sin(0.15 * static_cast<double>(t));
  scan(m, ctx, s, X, Y.view());
  double error = 0;
  for (index_t t = 200; t < 400; ++t)
    for (const double ago : {0.1, 0.5, 0.9}) {
      double sum = 0;
      for (index_t n = 0; n < order; ++n) sum += Y.view()[t][n] * legendre(n, ago);
      // A zero-order hold shows input t from t on: its middle lies half a token later.
      const double expected = std::sin(0.15 * (static_cast<double>(t) + 0.5 - ago * theta));
      error = std::max(error, std::abs(sum - expected));
    }
  return error;
}

}  // namespace

TEST_CASE("lmu meets the golden values") {
  lmu_meets_golden_values<double, native>(1e-12);
  lmu_meets_golden_values<double, reference>(1e-12);
  lmu_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("lmu: anchor of the specification") {
  const auto m = delay_line(3, 4);
  const plain::rows expected(4, {2.4675576087, -1.9377132503, 0.0134500721});  // of the last row
  CHECK(plain::error_of(m, {{1}, {2}, {3}, {4}}, expected, 3) < 1e-9);
}

TEST_CASE("lmu: convolution and scan agree") {
  const auto m = delay_line(6, 20);
  const auto x = mneme_test::random_rows<double>(80, 1, 0, 3);
  matrix<double> Y(80, 6), copies(80, 6), convolved(80, 6);
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, x, Y.view());
  for (index_t t = 0; t < 80; ++t)
    std::fill(copies.view()[t].begin(), copies.view()[t].end(), x.view()[t][0]);
  const buffer<double> K = m.kernel(80);
  convolve_fft<double>(ctx, {K.data(), 6, 80}, copies, convolved.view());
  CHECK(golden_error<double>(convolved, Y) < 1e-11);
}

TEST_CASE("lmu reconstructs delayed inputs, better with more coefficients") {
  const double four = delay_error(4), eight = delay_error(8), twelve = delay_error(12);
  CAPTURE(four, eight, twelve);
  CHECK(eight < four / 4);
  CHECK(twelve < eight);
  CHECK(twelve < 0.02);
}

TEST_CASE("lmu: tensors and errors") {
  std::string names;
  visit_fields(
      [&](const field_path& at, const weight& w) { names += at.text() + shape_text(w.shape()) + " "; },
      lmu<float>({.d_in = 3, .d_hidden = 4, .memory_d = 2, .order = 5, .hidden_to_memory = true}).weights());
  CHECK(names ==
        "kernel[2, 7] bias[] recurrent_kernel[] hidden_cell.kernel[4, 10] "
        "hidden_cell.recurrent_kernel[4, 4] hidden_cell.bias[4] ");
  CHECK_THROWS_WITH(lmu<float>({.order = 0}), "lmu: order is 0, expected at least 1");
  CHECK_THROWS_AS(lmu<float>({.hidden_to_memory = true}), error);
}
