// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/memory_plus.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "lookup_case.hpp"
#include "outputs.hpp"

using namespace mneme;
using namespace lookup_test;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<memory_plus<float>> && Batched<memory_plus<float>> && row_stable<memory_plus<float>>);

namespace {

memory_plus<double> with_biases(memory_plus_config c) {
  memory_plus<double> m(c, 3);
  std::uint64_t stream = 50;
  visit_fields(
      [&](const field_path& at, weight& w) {
        if (w && at.text().ends_with(".bias")) w = uniform_weight({w.cols()}, 1, random_stream(1, stream++));
      },
      m.weights());
  return m;
}

template <class T>
void memory_plus_meets_golden_values(double bound) {
  const mneme_test::golden file("memory_plus");
  CHECK(file.cases().size() == 3);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) { return index_t{std::stoi(file.flag(name, flag))}; };
    const auto exactly = [&](const char* what) {
      const auto values = file.values(name, what);
      std::array<index_t, 3> shape{1, 1, 1};
      const auto dims = file.shape(name, what);
      std::copy(dims.begin(), dims.end(), shape.begin());
      return weight::copy_of(values.data(), shape, static_cast<int>(dims.size()), dtype::f64);
    };
    const index_t D = file.shape(name, "x")[1], dv = file.shape(name, "values")[1], dk = D / 2;
    const memory_plus_config c{.d_model = D,
                               .d_value = dv,
                               .sub_keys = number("sub_keys"),
                               .top_k = number("top_k"),
                               .d_key = dk,
                               .norm = product_key_norm::layer,
                               .epsilon = 0};
    memory_plus_params p;
    p.query_proj = exactly("query");
    p.norm = exactly("norm"), p.norm_bias = constant_weight({dk}, 0);
    p.keys = exactly("keys"), p.values = exactly("values");
    p.swilu_projection = exactly("gate"), p.swilu_projection_bias = constant_weight({dv}, 0);
    p.value_proj = exactly("out"), p.value_proj_bias = constant_weight({D}, 0);
    const auto y = outputs(memory_plus<T>(c, p), mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
  }
}

}  // namespace

TEST_CASE("memory_plus meets the golden values of an independent implementation") {
  memory_plus_meets_golden_values<double>(1e-12);
  memory_plus_meets_golden_values<float>(2e-5);
}

TEST_CASE("memory_plus is what it says") {
  for (const bool gated : {false, true}) {
    const memory_plus_config c{.d_model = 7,
                               .d_value = 9,
                               .heads = 2,
                               .sub_keys = 6,
                               .top_k = 4,
                               .query_bias = true,
                               .mem_gated = gated};
    const auto m = with_biases(c);
    const auto& p = m.weights();
    const auto X = mneme_test::random_rows<double>(11, 7, 0, 4);
    const auto Y = outputs(m, X.view());
    matrix<double> expected(11, 7);
    for (index_t t = 0; t < 11; ++t) {
      const vec x = row_of<double>(X.view()[t]);
      vec v = read_table(table_of(p.values), 9,
                         softmax_address(p.keys, c.top_k, affine(p.query_proj, p.query_proj_bias, x)));
      const vec gate = affine(p.swilu_projection, p.swilu_projection_bias, x);
      for (std::size_t d = 0; d < v.size(); ++d) v[d] *= gate[d] * sigmoid(gate[d]);
      vec y = affine(p.value_proj, p.value_proj_bias, v);
      if (gated)
        for (double& a : y) a *= sigmoid(affine(p.gating, p.gating_bias, x)[0]);
      std::copy(y.begin(), y.end(), expected.view()[t].begin());
    }
    CHECK(mneme_test::golden_error<double>(Y, expected) < 1e-12);
  }
}

TEST_CASE("memory_plus: layers share the bytes of one table of values") {
  const memory_plus_config c{.d_model = 6, .sub_keys = 4, .top_k = 2};
  memory_plus<float> first(c, 1);
  memory_plus_params p = memory_plus<float>(c, 2).weights();
  p.values = first.weights().values;
  memory_plus<float> second(c, p);
  CHECK(second.weights().values.data() == first.weights().values.data());
  CHECK(second.weights().keys.data() != first.weights().keys.data());

  const auto X = mneme_test::random_rows<float>(3, 6, 0, 5);
  const auto before = outputs(second, X.view());
  edit<float>(first.weights().values)[0] = 100;  // unshares: the other layer keeps what it had
  CHECK(first.weights().values.data() != second.weights().values.data());
  CHECK(outputs(second, X.view()) == before);
}

TEST_CASE("memory_plus refuses impossible sizes") {
  using memory = memory_plus<float>;
  CHECK_THROWS_WITH(memory({.d_model = 4, .d_value = -1}), "memory_plus: d_value is -1, expected at least 0");
  CHECK_THROWS_WITH(memory({.d_model = 4, .sub_keys = 3, .top_k = 10}),
                    "memory_plus: top_k is 10, expected 1 to 9 (sub_keys squared)");
  const memory_plus_config c{.d_model = 4, .sub_keys = 3, .top_k = 2};
  auto p = memory(c).weights();
  p.gating = constant_weight({1, 4}, 0);
  CHECK_THROWS_WITH(memory(c, p), "memory_plus: tensor gating.weight has shape [1, 4], expected []");
}
