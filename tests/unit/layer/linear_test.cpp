// SPDX-License-Identifier: Apache-2.0
#include <mneme/layer/linear.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<linear<float>> && Batched<linear<float>> && Sampled<linear<double>> &&
              row_stable<linear<float>>);
static_assert(Scannable<linear<float, reference>>);

namespace {

template <class T, class Backend>
void linear_meets_golden_values(double bound) {
  const golden file("layers");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    if (name.rfind("linear_", 0) != 0) continue;
    CAPTURE(name);
    const auto shape = file.shape(name, "weight");
    const linear<T, Backend> m(
        {.d_in = shape[1], .d_out = shape[0], .bias = file.has(name, "bias")},
        {mneme_test::golden_weight(file, name, "weight"), mneme_test::golden_weight(file, name, "bias")});
    const auto y = outputs(m, mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
    ++cases;
  }
  CHECK(cases == 4);
}

}  // namespace

TEST_CASE("linear meets the golden values") {
  linear_meets_golden_values<double, native>(1e-12);
  linear_meets_golden_values<double, reference>(1e-12);
  linear_meets_golden_values<float, native>(1e-6);
}

TEST_CASE("linear: every storage type of weight and bias, against the reference in double") {
  for (const dtype type :
       {dtype::f32, dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    CAPTURE(info(type).name);
    const linear_config c{.d_in = 64, .d_out = 32, .bias = true};
    const linear<float> seeded(c, 3);
    const linear_params p{stored_as(seeded.weights().weight, type), stored_as(seeded.weights().bias, type)};
    const auto X = mneme_test::random_rows<float>(9, 64, 0, 4);
    const auto expected =
        outputs(linear<double, reference>(c, p), mneme_test::widened<float>(X.view()).view());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = 64};
    CHECK(mneme_test::difference<float, double>(outputs(linear<float>(c, p), X.view()), expected, allowed) ==
          "");
  }
}

TEST_CASE("linear: the seed decides the weights, which copies share") {
  const linear_config c{.d_in = 7, .d_out = 3, .bias = true};
  linear<float> m(c, 1);
  CHECK(m.weights().weight == linear<float>(c, 1).weights().weight);
  CHECK_FALSE(m.weights().weight == linear<float>(c, 2).weights().weight);
  const linear<float> copy = m;
  CHECK(copy.weights().weight.data() == m.weights().weight.data());
  edit<float>(m.weights().weight)[0] += 1;
  CHECK_FALSE(copy.weights().weight == m.weights().weight);
  for (index_t i = 0; i < 21; ++i)
    CHECK(std::abs(data<float>(copy.weights().weight)[i]) <= 1 / std::sqrt(7.0f));
}

TEST_CASE("linear refuses impossible sizes and misshapen tensors") {
  CHECK_THROWS_WITH(linear<float>({.d_in = 0, .d_out = 3}),
                    "linear: d_in is 0 and d_out is 3, expected at least 1");
  const weight W = constant_weight({3, 5}, 1);
  CHECK_THROWS_WITH(linear<float>({.d_in = 3, .d_out = 5}, {W, {}}),
                    "linear: tensor weight has shape [3, 5], expected [5, 3]");
  CHECK_THROWS_WITH(linear<float>({.d_in = 5, .d_out = 3, .bias = true}, {W, {}}),
                    "linear: tensor bias has shape [], expected [3]");
  CHECK_THROWS_WITH(linear<float>({.d_in = 33, .d_out = 3, .storage = dtype::q8_0}),
                    "linear: d_in is 33, expected a multiple of 32 (Q8_0)");
  CHECK_FALSE(make<linear<float>>({.d_in = 3, .d_out = 0}).has_value());
}
