// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/product_key.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<product_key<float>> && Batched<product_key<float>> && Sampled<product_key<double>>);
static_assert(Scannable<product_key<float, reference>> && row_stable<product_key<float>>);
static_assert(std::same_as<state_t<product_key<float>>, nothing>);

namespace {

template <class T, class Backend>
void product_key_meets_golden_values(double bound) {
  const golden file("product_key_memory");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) {
      return static_cast<index_t>(std::stoi(file.flag(name, flag)));
    };
    const product_key_config c{
        .d_model = file.shape(name, "x")[1],
        .heads = number("heads"),
        .sub_keys = number("num_keys"),
        .top_k = number("topk"),
        .d_key = number("dim_head"),
        .gate = file.flag(name, "gate") == "relu" ? product_key_gate::relu : product_key_gate::softmax};
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    const product_key_params p{
        .query_proj = tensor("query_weight"),
        .query_proj_bias = {},
        .norm = tensor("norm_weight"),
        .norm_bias = tensor("norm_bias"),
        .keys = mneme_test::golden_weight(file, name, "keys", {2 * c.heads, c.sub_keys, c.d_key}),
        .values = tensor("values")};
    const product_key<T, Backend> m(c, p);
    const auto y = outputs(m, mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
  }
}

}  // namespace

TEST_CASE("product_key meets the golden values of the Python package") {
  product_key_meets_golden_values<double, native>(1e-12);
  product_key_meets_golden_values<double, reference>(1e-12);
  product_key_meets_golden_values<float, native>(1e-5);
}

TEST_CASE("product_key: every storage type of every tensor, against the reference in double") {
  for (const dtype type : {dtype::f32, dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_1}) {
    CAPTURE(info(type).name);
    const product_key_config c{
        .d_model = 32, .d_value = 64, .heads = 2, .sub_keys = 9, .top_k = 5, .d_key = 32, .query_bias = true};
    product_key_params p = product_key<float>(c, 3).weights();
    visit_fields([type](const field_path&, weight& w) { w = stored_as(w, type); }, p);
    const auto X = mneme_test::random_rows<float>(7, 32, 0, 4);
    const auto expected =
        outputs(product_key<double, reference>(c, p), mneme_test::widened<float>(X.view()).view());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = 64};
    CHECK(mneme_test::difference<float, double>(outputs(product_key<float>(c, p), X.view()), expected,
                                                allowed) == "");
  }
}

TEST_CASE("product_key: a batch norm folds into the projection and its bias") {
  // y of (q - mean) / sqrt(variance + epsilon) * gamma + beta equals y of a scaled projection with a bias.
  product_key_config c{.d_model = 6,
                       .heads = 2,
                       .sub_keys = 7,
                       .top_k = 3,
                       .d_key = 4,
                       .query_bias = true,
                       .norm = product_key_norm::none};
  product_key<double> m(c, 5);
  const auto X = mneme_test::random_rows<double>(5, 6, 0, 6);
  const auto plain = outputs(m, X.view());
  float *W = edit<float>(m.weights().query_proj), *b = edit<float>(m.weights().query_proj_bias);
  for (index_t n = 0; n < 16; ++n) {
    const float gamma = n % 2 == 0 ? 2.0f : 0.5f;  // powers of two: exact in every sum
    for (index_t k = 0; k < 6; ++k) W[n * 6 + k] *= gamma;
    b[n] *= gamma;
  }
  float* K = edit<float>(m.weights().keys);
  for (index_t i = 0; i < 4 * 7; ++i)
    for (index_t d = 0; d < 4; ++d) K[i * 4 + d] /= d % 2 == 0 ? 2.0f : 0.5f;
  CHECK(mneme_test::bit_difference<double>(outputs(m, X.view()), plain) == "");
}

TEST_CASE("product_key: default widths, and tensors under checkpoint names") {
  const product_key<float> m({.d_model = 33, .heads = 2, .sub_keys = 4, .top_k = 3, .query_bias = true});
  CHECK(m.d_out() == 33);
  CHECK(m.configuration().key_width() == 9);
  CHECK(product_key_config{.d_model = 4, .heads = 4}.key_width() == 2);
  std::string names;
  visit_fields(
      [&](const field_path& at, const weight& w) { names += at.text() + shape_text(w.shape()) + " "; },
      m.weights());
  CHECK(names ==
        "query_proj.weight[36, 33] query_proj.bias[36] norm.weight[9] norm.bias[9] keys[4, 4, 9] "
        "values.weight[16, 33] ");
}

TEST_CASE("product_key refuses impossible sizes and misshapen tensors") {
  using memory = product_key<float>;
  CHECK_THROWS_WITH(memory({.d_model = 0}), "product_key: d_model is 0, expected at least 1");
  CHECK_THROWS_WITH(memory({.d_model = 4, .heads = 0}), "product_key: heads is 0, expected at least 1");
  CHECK_THROWS_WITH(memory({.d_model = 4, .sub_keys = 3, .top_k = 10}),
                    "product_key: top_k is 10, expected 1 to 9 (sub_keys squared)");
  CHECK_THROWS_WITH(memory({.d_model = 4, .sub_keys = 3, .top_k = 2, .epsilon = -1}),
                    "product_key: epsilon is -1.000000, expected at least 0");
  CHECK_THROWS_WITH(memory({.d_model = 33, .sub_keys = 3, .top_k = 2, .storage = dtype::q8_0}),
                    "product_key: values of width 33 cannot be stored as Q8_0, expected a multiple of 32");
  const product_key_config c{.d_model = 4, .sub_keys = 3, .top_k = 2};
  auto p = memory(c).weights();
  p.keys = constant_weight({6, 2}, 0);
  CHECK_THROWS_WITH(memory(c, p), "product_key: tensor keys has shape [6, 2], expected [2, 3, 2]");
  CHECK_FALSE(make<memory>({.d_model = 4, .sub_keys = 3, .top_k = 0}).has_value());
}
