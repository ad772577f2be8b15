// SPDX-License-Identifier: Apache-2.0
#include <mneme/layer/swiglu.hpp>

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

static_assert(Scannable<swiglu<float>> && Sampled<swiglu<double>> && row_stable<swiglu<float>>);
static_assert(Scannable<swiglu<float, reference>>);

namespace {

template <class T, class Backend>
void swiglu_meets_golden_values(double bound) {
  const golden file("layers");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    if (name.rfind("swiglu_", 0) != 0) continue;
    CAPTURE(name);
    const auto shape = file.shape(name, "gate");
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    const swiglu<T, Backend> m({.d_model = shape[1], .d_hidden = shape[0]},
                               {tensor("gate"), tensor("up"), tensor("down")});
    const auto y = outputs(m, mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
    ++cases;
  }
  CHECK(cases == 4);
}

}  // namespace

TEST_CASE("swiglu reference meets the golden values") {
  swiglu_meets_golden_values<double, reference>(1e-12);
}

TEMPLATE_LIST_TEST_CASE("swiglu meets the golden values", "", test_archs) {
  swiglu_meets_golden_values<double, cpu<TestType>>(1e-12);
  swiglu_meets_golden_values<float, cpu<TestType>>(2e-6);
}

TEST_CASE("swiglu: every storage type, against the reference in double") {
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    CAPTURE(info(type).name);
    const swiglu_config c{.d_model = 32, .d_hidden = 96, .storage = type};
    const swiglu<float> m(c, 3);
    const auto X = mneme_test::random_rows<float>(9, 32, 0, 4);
    const auto expected =
        outputs(swiglu<double, reference>(c, m.weights()), mneme_test::widened<float>(X.view()).view());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = 96};
    CHECK(mneme_test::difference<float, double>(outputs(m, X.view()), expected, allowed) == "");
  }
}

TEMPLATE_LIST_TEST_CASE("silu_gate in place", "", test_archs) {
  for (const index_t D : {1, 7, 16, 37}) {
    CAPTURE(D);
    const matrix<float> G(mneme_test::random_rows<float>(3, D, 0, 5).view(), {.gap = 2, .shift = 1});
    matrix<float> U(mneme_test::random_rows<float>(3, D, 0, 6).view(), mneme_test::ugly), other = U;
    kernel<silu_gate, reference>::run<float>(G, U, other.view());
    kernel<silu_gate, cpu<TestType>>::template run<float>(G, U, U.view());
    CHECK(U.surrounding_untouched());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = 1};
    CHECK(mneme_test::difference<float, float>(U, other, allowed) == "");
  }
}

TEST_CASE("swiglu refuses impossible sizes and misshapen tensors") {
  CHECK_THROWS_WITH(swiglu<float>({.d_model = 4, .d_hidden = 0}),
                    "swiglu: d_model is 4 and d_hidden is 0, expected at least 1");
  const weight wide = constant_weight({3, 2}, 1), tall = constant_weight({2, 3}, 1);
  CHECK_NOTHROW(swiglu<float>({.d_model = 2, .d_hidden = 3}, {wide, wide, tall}));
  CHECK_THROWS_WITH(swiglu<float>({.d_model = 2, .d_hidden = 3}, {wide, wide, wide}),
                    "swiglu: tensor down_proj.weight has shape [3, 2], expected [2, 3]");
}
