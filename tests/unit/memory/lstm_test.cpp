// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/lstm.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<lstm<float>> && Batched<lstm<float>> && Sampled<lstm<double>>);
static_assert(Scannable<lstm<float, reference>> && row_stable<lstm<float>> &&
              CompleteFields<lstm_state<float>>);

namespace {

template <class T>
void copy_row(const matrix<T>& from, buffer<T>& to) {
  std::copy(from.view()[0].begin(), from.view()[0].end(), to.begin());
}

template <class T, class Backend>
void lstm_meets_golden_values(double bound) {
  const golden file("lstm");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    const lstm_params p{tensor("weight_ih_l0"), tensor("weight_hh_l0"), tensor("bias_ih_l0"),
                        tensor("bias_hh_l0")};
    const lstm<T, Backend> m({.d_in = p.weight_ih.dim(1), .d_hidden = p.weight_hh.dim(1)}, p);
    const auto x = mneme_test::golden_matrix<T>(file, name, "x");
    context ctx;
    auto s = m.init();
    copy_row(mneme_test::golden_matrix<T>(file, name, "h0"), s.h);
    copy_row(mneme_test::golden_matrix<T>(file, name, "c0"), s.c);
    auto stepped = s;
    matrix<T> Y(x.rows(), m.d_out()), Z = Y;
    scan(m, ctx, s, x, Y.view());
    for (index_t t = 0; t < x.rows(); ++t) step(m, ctx, stepped, x.view()[t], Z.view()[t]);

    const auto expected = [&](const char* what) {
      return mneme_test::golden_matrix<double>(file, name, what);
    };
    CHECK(mneme_test::golden_error<T>(Y, expected("y")) < bound);
    CHECK(mneme_test::golden_error<T>(Z, expected("y")) < bound);
    CHECK(mneme_test::golden_error<T>({s.h.data(), 1, m.d_out()}, expected("h1")) < bound);
    CHECK(mneme_test::golden_error<T>({s.c.data(), 1, m.d_out()}, expected("c1")) < bound);
  }
}

}  // namespace

TEST_CASE("lstm meets the golden values of torch, scanned and stepped") {
  lstm_meets_golden_values<double, native>(1e-12);
  lstm_meets_golden_values<double, reference>(1e-12);
  lstm_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("lstm: scalar anchor of the specification") {
  const lstm<double> m({.d_in = 1, .d_hidden = 1, .bias = false},
                       {constant_weight({4, 1}, 0.5), constant_weight({4, 1}, 0.25), {}, {}});
  matrix<double> x(3, 1);
  x.view()[0][0] = 1, x.view()[1][0] = -1, x.view()[2][0] = 0.5;
  const auto y = outputs(m, x.view());
  CHECK(std::abs(y.view()[0][0] - 0.1742697187) < 1e-10);
  CHECK(std::abs(y.view()[1][0] + 0.0209657655) < 1e-10);
  CHECK(std::abs(y.view()[2][0] - 0.0582636685) < 1e-10);
}

TEST_CASE("lstm: every storage type of every tensor, against the reference in double") {
  for (const dtype type :
       {dtype::f32, dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    CAPTURE(info(type).name);
    const lstm_config c{.d_in = 64, .d_hidden = 32};
    lstm_params p = lstm<float>(c, 3).weights();
    visit_fields([type](const field_path&, weight& w) { w = stored_as(w, type); }, p);
    const auto X = mneme_test::random_rows<float>(40, 64, 0, 4);
    const auto expected = outputs(lstm<double, reference>(c, p), mneme_test::widened<float>(X.view()).view());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 40, .width = 64};
    CHECK(mneme_test::difference<float, double>(outputs(lstm<float>(c, p), X.view()), expected, allowed) ==
          "");
  }
}

TEST_CASE("lstm: blocks of rows, ragged lanes and empty lanes change no bit") {
  const lstm<float> m({.d_in = 7, .d_hidden = 19}, 1);
  const auto X = mneme_test::random_rows<float>(31, 7, 0, 2);
  const index_t rows[] = {0, 5, 1, 0, 16, 9, 0}, outs[] = {0, 5, 0, 0, 3, 1, 0};

  matrix<float> expected(9, 19);
  std::vector<lstm_state<float>> alone(7, m.init());
  context plain;
  for (index_t i = 0, x = 0, y = 0; i < 7; ++i) {
    auto& s = alone[static_cast<std::size_t>(i)];
    scan(m, plain, s, X.view().range(x, x + rows[i]), expected.view().range(y, y + outs[i]));
    x += rows[i], y += outs[i];
  }
  for (const index_t block : {1, 4, 256}) {
    CAPTURE(block);
    context ctx;
    ctx.block_rows = block;
    std::vector<lstm_state<float>> states(7, m.init());
    std::vector<lane<lstm_state<float>>> lanes;
    for (std::size_t i = 0; i < 7; ++i) lanes.push_back({&states[i], rows[i], outs[i]});
    matrix<float> Y(9, 19);
    scan_many(m, ctx, lanes_of<lstm<float>>(lanes), X, Y.view());
    CHECK(mneme_test::bit_difference<float>(Y, expected) == "");
    CHECK(states == alone);
  }
  scan_many(m, plain, lanes_of<lstm<float>>(), mat_view<const float>(nullptr, 0, 7),
            mat_view<float>(nullptr, 0, 19));
}

TEST_CASE("lstm: outputs stay within (-1, 1), weights within 1 / sqrt(H), tensors under torch's names") {
  const lstm<float> m({.d_in = 4, .d_hidden = 9}, 3);
  auto X = mneme_test::random_rows<float>(50, 4, 0, 5);
  for (index_t t = 0; t < 50; ++t)
    for (float& x : X.view()[t]) x *= 100;
  const auto y = outputs(m, X.view());
  for (index_t t = 0; t < 50; ++t)
    for (float v : y.view()[t]) CHECK(std::abs(v) <= 1);

  std::string names;
  visit_fields(
      [&](const field_path& at, const weight& w) {
        names += at.text() + shape_text(w.shape()) + " ";
        for (index_t i = 0; i < w.size(); ++i) CHECK(std::abs(data<float>(w)[i]) <= 1 / 3.0f);
      },
      m.weights());
  CHECK(names == "weight_ih_l0[36, 4] weight_hh_l0[36, 9] bias_ih_l0[36] bias_hh_l0[36] ");
}

TEST_CASE("lstm refuses impossible sizes and misshapen tensors") {
  CHECK_THROWS_WITH(lstm<float>({.d_in = 0, .d_hidden = 2}),
                    "lstm: d_in is 0 and d_hidden is 2, expected at least 1");
  CHECK_THROWS_WITH(lstm<float>({.d_in = 32, .d_hidden = 8, .storage = dtype::q8_0}),
                    "lstm: d_in is 32 and d_hidden is 8, expected multiples of 32 (Q8_0)");
  const lstm_config c{.d_in = 3, .d_hidden = 2};
  auto p = lstm<float>(c).weights();
  p.weight_hh = constant_weight({2, 8}, 0);
  CHECK_THROWS_WITH(lstm<float>(c, p), "lstm: tensor weight_hh_l0 has shape [2, 8], expected [8, 2]");
  CHECK_FALSE(make<lstm<float>>({.d_in = 3, .d_hidden = 0}).has_value());
}
