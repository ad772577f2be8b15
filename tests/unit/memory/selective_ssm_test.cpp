// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/encode.hpp>
#include <mneme/memory/selective_ssm.hpp>

#include "catch.hpp"
#include "golden.hpp"
#include "laws/compare.hpp"

#include <string>

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;

static_assert(Batched<selective_ssm<float>> && Sampled<selective_ssm<double>> &&
              row_stable<selective_ssm<float>>);
static_assert(Batched<selective_ssm<float, reference>>);

namespace {

double largest_error(const auto& got, const std::vector<double>& expected) {
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(got[static_cast<index_t>(i)]) - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return error / scale;
}

template <class T, class Backend>
void selective_ssm_meets_golden_values(double bound) {
  const golden file("mamba_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto size = [&](const char* flag) { return index_t{std::stoi(file.flag(name, flag))}; };
    const selective_ssm_config c{.d_model = size("d_model"),
                                 .d_state = size("d_state"),
                                 .d_conv = size("d_conv"),
                                 .expand = size("d_inner") / size("d_model"),
                                 .dt_rank = size("dt_rank")};
    selective_ssm_params p;  // by the names of the checkpoint
    visit_fields(
        [&](const field_path& at, weight& w) {
          const std::string tensor = at.text();
          const auto shape = file.shape(name, tensor);
          std::vector<float> values;
          for (const double v : file.values(name, tensor)) values.push_back(static_cast<float>(v));
          std::array<index_t, 3> dims{1, 1, 1};
          std::copy(shape.begin(), shape.end(), dims.begin());
          w = weight::copy_of(values.data(), dims, static_cast<int>(shape.size()), dtype::f32);
        },
        p);
    const selective_ssm<T, Backend> m(c, p);

    const index_t rows = file.shape(name, "x")[0];
    std::vector<T> x, y(static_cast<std::size_t>(rows * c.d_model));
    for (const double v : file.values(name, "x")) x.push_back(static_cast<T>(v));
    auto s = m.init();
    context ctx;
    scan(m, ctx, s, {x.data(), rows, c.d_model}, {y.data(), rows, c.d_model});
    CHECK(largest_error(row_view<const T>(y), file.values(name, "y")) < bound);
    CHECK(largest_error(s.conv_state, file.values(name, "conv1")) < bound);
    CHECK(largest_error(s.ssm_state, file.values(name, "ssm1")) < bound);
  }
}

constexpr selective_ssm_config odd{.d_model = 19, .d_state = 5, .dt_rank = 3};

}  // namespace

TEST_CASE("selective_ssm meets the golden values") {
  selective_ssm_meets_golden_values<double, reference>(1e-12);
  selective_ssm_meets_golden_values<double, native>(1e-12);
  selective_ssm_meets_golden_values<float, native>(2e-5);
}

TEST_CASE("selective_ssm: lanes that want other outputs than their last are packed rightly") {
  const selective_ssm<float> m(odd, 5);
  using state = selective_ssm<float>::state;
  const index_t rows[] = {3, 0, 1, 6}, outs[] = {1, 0, 1, 4}, D = odd.d_model;
  const auto X = mneme_test::random_rows<float>(10, D, 0, 6);
  context ctx;
  std::vector<state> alone(4, m.init()), packed(4, m.init());
  matrix<float> expected(6, D), got(6, D);
  std::vector<lane<state>> lanes;
  index_t x = 0, y = 0;
  for (std::size_t i = 0; i < 4; x += rows[i], y += outs[i], ++i) {
    scan(m, ctx, alone[i], X.view().range(x, x + rows[i]), expected.view().range(y, y + outs[i]));
    lanes.push_back({&packed[i], rows[i], outs[i]});
  }
  scan_many<selective_ssm<float>>(m, ctx, lanes, X, got.view());
  CHECK(mneme_test::bit_difference<float>(got, expected) == "");
  CHECK(packed == alone);
}

TEST_CASE("selective_ssm: a scan in blocks of rows gives the bits of one in a single block") {
  const selective_ssm<float> m(odd, 5);
  const auto X = mneme_test::random_rows<float>(23, odd.d_model, 0, 7);
  context one, many;
  many.block_rows = 5;
  for (const index_t outs : {0, 4, 12, 23}) {
    auto s = m.init(), blocks = m.init();
    matrix<float> expected(outs, odd.d_model), got(outs, odd.d_model);
    scan(m, one, s, X, expected.view());
    scan(m, many, blocks, X, got.view());
    CHECK(mneme_test::bit_difference<float>(got, expected) == "");
    CHECK(s == blocks);
  }
}

TEST_CASE("selective_ssm: weights of other storage types") {
  const selective_ssm_config c{.d_model = 32};
  selective_ssm_params p = selective_ssm<float>(c, 9).weights();
  p.in_proj = stored_as(p.in_proj, dtype::q8_0);  // also cut in two halves
  p.out_proj = stored_as(p.out_proj, dtype::q4_1);
  for (weight* w : {&p.conv1d_weight, &p.conv1d_bias, &p.x_proj, &p.dt_proj, &p.dt_bias, &p.A_log, &p.D})
    *w = stored_as(*w, dtype::bf16);
  const selective_ssm<float> m(c, p);
  const selective_ssm<double, reference> oracle(c, p);
  const auto X = mneme_test::random_rows<float>(12, 32, 0, 10);
  const auto wide = mneme_test::widened<float>(X.view());
  matrix<float> Y(12, 32);
  matrix<double> expected(12, 32);
  auto s = m.init();
  auto so = oracle.init();
  context ctx;
  scan(m, ctx, s, X, Y.view());
  scan(oracle, ctx, so, wide, expected.view());
  const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 12, .width = 64};
  CHECK(mneme_test::difference<float, double>(Y, expected, allowed) == "");
}

TEST_CASE("selective_ssm: copies keep working when the original and its weights are gone") {
  const auto X = mneme_test::random_rows<float>(3, odd.d_model, 0, 11);
  matrix<float> expected(3, odd.d_model), got(3, odd.d_model);
  context ctx;
  auto original = std::make_unique<selective_ssm<float>>(odd, 12);
  auto s = original->init(), s_copy = original->init();
  scan(*original, ctx, s, X, expected.view());
  const selective_ssm<float> copy = *original;
  original.reset();
  scan(copy, ctx, s_copy, X, got.view());
  CHECK(mneme_test::bit_difference<float>(got, expected) == "");
}

TEST_CASE("selective_ssm starts as the paper's code does") {
  const selective_ssm<float> m({.d_model = 40}, 13);
  const auto& p = m.weights();
  CHECK(p.dt_proj.cols() == 3);  // ceil(40 / 16)
  for (index_t e = 0; e < 80; ++e) {
    CHECK(data<float>(p.D)[e] == 1);
    const double dt = std::log1p(std::exp(static_cast<double>(data<float>(p.dt_bias)[e])));
    CHECK((dt > 0.999e-3 && dt < 1.001e-1));
    for (index_t n = 0; n < 16; ++n)
      CHECK(std::exp(data<float>(p.A_log)[e * 16 + n]) == Approx(static_cast<float>(n + 1)));
  }
  const auto s = m.init();
  CHECK((s.conv_state.size() == 3 * 80 && s.ssm_state.size() == 80 * 16));
  CHECK(footprint(s).owned == sizeof(float) * 80 * (3 + 16));
}

TEST_CASE("selective_ssm refuses impossible sizes and misshapen tensors, and names them") {
  CHECK(!make<selective_ssm<float>>({.d_model = 0}));
  CHECK(!make<selective_ssm<float>>({.d_model = 4, .d_state = 0}));
  CHECK(make<selective_ssm<float>>({.d_model = 4, .d_conv = 0}).error().message() ==
        "selective_ssm: d_conv is 0, expected at least 1");
  CHECK(!make<selective_ssm<float>>({.d_model = 4, .expand = 0}));
  CHECK(make<selective_ssm<float>>({.d_model = 4, .dt_rank = -1}).error().message() ==
        "selective_ssm: dt_rank is -1, expected at least 0");
  const selective_ssm_params good = selective_ssm<float>(odd, 14).weights();
  int tensors = 0;
  selective_ssm_params::fields([&](auto name, auto&...) {
    selective_ssm_params bad = good;
    int i = 0;
    visit_fields(
        [&](const field_path&, weight& w) { w = i++ == tensors ? weight::zeros<float>(2, 2, 2) : w; }, bad);
    ++tensors;
    std::string what;
    try {
      selective_ssm<float>(odd, bad);
    } catch (const error& e) {
      what = e.what();
    }
    CAPTURE(what);
    CHECK(what.starts_with("selective_ssm: tensor " + std::string(name) + " has shape [2, 2, 2]"));
  });
  CHECK(tensors == 9);
}
