// SPDX-License-Identifier: Apache-2.0
#include <mneme/layer/rms_norm.hpp>
#include <mneme/math/encode.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;
using mneme_test::test_archs;

static_assert(Scannable<rms_norm<float>> && Sampled<rms_norm<double>> && row_stable<rms_norm<float>>);
static_assert(Scannable<rms_norm<float, reference>>);

namespace {

template <class T, class Backend>
void rms_norm_meets_golden_values(double bound) {
  const golden file("layers");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    if (name.rfind("rmsnorm_", 0) != 0) continue;
    CAPTURE(name);
    const rms_norm<T, Backend> m(
        {.d_model = file.shape(name, "x")[1], .epsilon = std::stod(file.flag(name, "eps"))},
        {mneme_test::golden_weight(file, name, "weight")});
    const auto y = outputs(m, mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
    ++cases;
  }
  CHECK(cases == 5);
}

}  // namespace

TEST_CASE("rms_norm reference meets the golden values") {
  rms_norm_meets_golden_values<double, reference>(1e-12);
}

TEMPLATE_LIST_TEST_CASE("rms_norm meets the golden values", "", test_archs) {
  rms_norm_meets_golden_values<double, cpu<TestType>>(1e-12);
  rms_norm_meets_golden_values<float, cpu<TestType>>(1e-6);
}

TEMPLATE_LIST_TEST_CASE("rms_norm agrees with its reference for weights of any storage type", "",
                        test_archs) {
  for (const index_t D : {1, 5, 16, 33, 96})
    for (const dtype type : {dtype::f32, dtype::f64, dtype::bf16, dtype::f16}) {
      CAPTURE(D, info(type).name);
      const rms_norm_config c{.d_model = D};
      const rms_norm_params p{stored_as(rms_norm<float>(c, 3).weights().weight, type)};
      const auto X = mneme_test::random_rows<float>(5, D, 0, 4);
      const auto expected =
          outputs(rms_norm<double, reference>(c, p), mneme_test::widened<float>(X.view()).view());
      const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = D};
      const rms_norm<float, cpu<TestType>> m(c, p);
      CHECK(mneme_test::difference<float, double>(outputs(m, X.view()), expected, allowed) == "");
    }
}

TEST_CASE("rms_norm: rows of zeros stay zeros, scaled rows keep their direction") {
  const rms_norm<float> m({.d_model = 19, .epsilon = 0}, 1);
  auto X = mneme_test::random_rows<float>(2, 19, 0, 4);
  for (index_t i = 0; i < 19; ++i) X.view()[1][i] = 8 * X.view()[0][i];
  const auto y = outputs(m, X.view());
  CHECK(mneme_test::bit_difference<float>(y.view().first(1), y.view().last(1)) == "");

  const rms_norm<float> guarded({.d_model = 3}, 1);
  const auto zeros = outputs(guarded, matrix<float>(1, 3, {}, 0.0f).view());
  for (float v : zeros.view()[0]) CHECK(v == 0);
}

TEST_CASE("rms_norm refuses impossible sizes and misshapen tensors") {
  CHECK_THROWS_WITH(rms_norm<float>({.d_model = 0}), "rms_norm: d_model is 0, expected at least 1");
  CHECK_THROWS_WITH(rms_norm<float>({.d_model = 2, .epsilon = -1}),
                    "rms_norm: epsilon is -1.000000, expected at least 0");
  CHECK_THROWS_WITH(rms_norm<float>({.d_model = 4}, {constant_weight({3}, 1)}),
                    "rms_norm: tensor weight has shape [3], expected [4]");
}
