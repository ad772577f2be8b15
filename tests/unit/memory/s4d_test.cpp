// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/s4d.hpp>
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
void s4d_meets_golden_values(double bound) {
  const golden file("s4d");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    s4d_params p{tensor("D"),
                 tensor("kernel.C"),
                 tensor("kernel.log_dt"),
                 tensor("kernel.log_A_real"),
                 tensor("kernel.A_imag"),
                 tensor("output_linear.0.weight"),
                 tensor("output_linear.0.bias")};
    s4d_config c{.d_model = p.D.dim(0), .d_state = 2 * p.C.dim(1)};
    const s4d<T, Backend> layer(c, p);
    p.output_weight = p.output_bias = {};
    c.output = false;
    const s4d<T, Backend> core(c, p);
    const auto u = golden_matrix<T>(file, name, "u");
    context ctx;
    auto s = layer.init();
    matrix<T> Y(u.rows(), u.cols()), S = Y;
    scan(layer, ctx, s, u, Y.view());
    CHECK(golden_error<T>(Y, golden_matrix<double>(file, name, "y")) < bound);
    s = core.init();
    for (index_t t = 0; t < u.rows(); ++t) step(core, ctx, s, u.view()[t], S.view()[t]);
    CHECK(golden_error<T>(S, golden_matrix<double>(file, name, "s")) < bound);
    const buffer<T> K = core.kernel(u.rows());
    CHECK(golden_error<T>({K.data(), u.cols(), u.rows()}, golden_matrix<double>(file, name, "K")) < bound);
  }
}

// The kernel of one channel with two pairs of states, steps of 0.1 and B = C = 1, all in double.
buffer<double> anchor(s4d_start start, discretisation rule, std::initializer_list<double> frequencies) {
  const s4d_config c{.d_model = 1, .d_state = 4, .start = start, .rule = rule, .output = false};
  s4d_params p = s4d<double>(c).weights();
  const auto set = [](weight& w, std::initializer_list<double> values) {
    weight table = decoded<double>(w);
    std::copy(values.begin(), values.end(), edit<double>(table));
    w = weight(table.data(), {w.dim(0), w.dim(1), w.dim(2)}, w.rank(), dtype::f64,
               std::make_shared<weight>(table));
  };
  for (index_t n = 0; n < 2; ++n) {
    CHECK(data<float>(p.A_imag)[n] == static_cast<float>(frequencies.begin()[n]));
    CHECK(data<float>(p.log_A_real)[n] == std::log(0.5f));
  }
  set(p.A_imag, frequencies);
  set(p.log_A_real, {std::log(0.5), std::log(0.5)});
  set(p.log_dt, {std::log(0.1)});
  set(p.C, {1, 0, 1, 0});
  return s4d<double>(c, p).kernel(5);
}
void is_near(const buffer<double>& got, std::initializer_list<double> expected) {
  REQUIRE(got.size() == static_cast<index_t>(expected.size()));
  for (index_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected.begin()[i]) < 1e-9);
}

}  // namespace

TEST_CASE("s4d meets the golden values: layer, state-space model, kernel") {
  s4d_meets_golden_values<double, native>(1e-12);
  s4d_meets_golden_values<double, reference>(1e-12);
  s4d_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("s4d: kernels of the specification") {
  constexpr double pi = std::numbers::pi;
  is_near(anchor(s4d_start::lin, discretisation::zoh, {0, pi}),
          {.3870112086, .3503411878, .3009849527, .2440201623, .1848089238});
  is_near(anchor(s4d_start::inv, discretisation::zoh, {12 / pi, 4 / pi / 3}),
          {.3854560525, .3403265404, .2770932233, .2049904750, .1336383596});
  is_near(anchor(s4d_start::lin, discretisation::bilinear, {0, pi}),
          {.3857665979, .3498772321, .3014449017, .2453624960, .1868283871});
}

TEST_CASE("s4d: recurrence, convolution and scan agree; a past adds its own response") {
  for (const auto start : {s4d_start::lin, s4d_start::inv, s4d_start::legs})
    for (const auto rule : {discretisation::zoh, discretisation::bilinear}) {
      const s4d<double> m({.d_model = 3, .d_state = 8, .start = start, .rule = rule, .output = false}, 5);
      const auto X = mneme_test::random_rows<double>(90, 3, 0, 6);
      matrix<double> scanned(90, 3), convolved = scanned, stepped = scanned;
      context ctx;
      auto s = m.init(), r = m.init();
      scan(m, ctx, s, X, scanned.view());
      for (index_t t = 0; t < 90; ++t) step(m, ctx, r, X.view()[t], stepped.view()[t]);
      CHECK(mneme_test::same_bits(scanned.view().data(), stepped.view().data(), 90 * 3));
      const buffer<double> K = m.kernel(90);
      convolve_fft<double>(ctx, {K.data(), 3, 90}, X, convolved.view());
      for (index_t t = 0; t < 90; ++t)
        for (index_t d = 0; d < 3; ++d)
          convolved.view()[t][d] += static_cast<double>(data<float>(m.weights().D)[d]) * X.view()[t][d];
      CHECK(golden_error<double>(convolved, scanned) < 1e-11);
    }
}

TEST_CASE("s4d with zoh is exact for inputs that are constant during a step") {
  // Half the step, every input twice: the same continuous system, seen twice as often.
  const s4d_config c{.d_model = 2, .d_state = 6, .output = false};
  s4d_params p = s4d<double>(c, 3).weights();
  edit<float>(p.D)[0] = edit<float>(p.D)[1] = 0;
  p.log_dt = decoded<double>(p.log_dt);
  p.log_dt = weight::copy_of(p.log_dt.data(), {2, 1, 1}, 1, dtype::f64);
  const s4d<double> whole(c, p);
  for (index_t d = 0; d < 2; ++d) edit<double>(p.log_dt)[d] -= std::log(2.0);
  const s4d<double> halves(c, p);
  const auto X = mneme_test::random_rows<double>(20, 2, 0, 6);
  context ctx;
  auto s = whole.init(), r = halves.init();
  for (index_t t = 0; t < 20; ++t) {
    matrix<double> y(1, 2), z = y;
    step(whole, ctx, s, X.view()[t], y.view()[0]);
    step(halves, ctx, r, X.view()[t], z.view()[0]);
    step(halves, ctx, r, X.view()[t], z.view()[0]);
    for (index_t d = 0; d < 2; ++d) CHECK(std::abs(y.view()[0][d] - z.view()[0][d]) < 1e-12);
  }
}

TEST_CASE("s4d: tensors under the names of the reference; errors say what is wrong") {
  std::string names;
  visit_fields(
      [&](const field_path& at, const weight& w) { names += at.text() + shape_text(w.shape()) + " "; },
      s4d<float>({.d_model = 3, .d_state = 4}).weights());
  CHECK(names ==
        "D[3] kernel.C[3, 2, 2] kernel.log_dt[3] kernel.log_A_real[3, 2] kernel.A_imag[3, 2] "
        "output_linear.0.weight[6, 3, 1] output_linear.0.bias[6] ");
  CHECK_THROWS_WITH(s4d<float>({.d_model = 3, .d_state = 5}),
                    "s4d: d_model is 3 and d_state is 5, expected a positive and a positive even size");
  CHECK_THROWS_WITH(s4d<float>({.rule = discretisation::euler}), "s4d: rule is 2, expected zoh or bilinear");
}
