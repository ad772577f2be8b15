// SPDX-License-Identifier: Apache-2.0
#include <mneme/layer/embedding.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "outputs.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<embedding<float>> && Sampled<embedding<double>> && row_stable<embedding<float>>);
static_assert(std::same_as<input_t<embedding<float>>, token_id>);

namespace {

template <class M>
auto rows_of(const M& m, const std::vector<token_id>& ids) {
  return outputs(m, {ids.data(), static_cast<index_t>(ids.size()), 1});
}

}  // namespace

TEST_CASE("embedding meets the golden values exactly") {
  const golden file("layers");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    if (name.rfind("embedding_", 0) != 0) continue;
    CAPTURE(name);
    const auto shape = file.shape(name, "table");
    const embedding_params p{mneme_test::golden_weight(file, name, "table")};
    const embedding_config c{.vocabulary = shape[0], .d_model = shape[1]};
    std::vector<token_id> ids;
    for (const double id : file.values(name, "ids")) ids.push_back(static_cast<token_id>(id));
    const auto expected = mneme_test::golden_matrix<double>(file, name, "y");
    CHECK(mneme_test::bit_difference<double>(rows_of(embedding<double>(c, p), ids), expected) == "");
    CHECK(mneme_test::bit_difference<double>(rows_of(embedding<double, reference>(c, p), ids), expected) ==
          "");
    CHECK(mneme_test::golden_error<float>(rows_of(embedding<float>(c, p), ids), expected) == 0);
    ++cases;
  }
  CHECK(cases == 2);
}

TEST_CASE("embedding: rows of every storage type") {
  const embedding_config c{.vocabulary = 5, .d_model = 64};
  const weight table = embedding<float>(c, 2).weights().weight;
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    CAPTURE(info(type).name);
    const weight E = stored_as(table, type);
    const auto y = rows_of(embedding<float>(c, {E}), {4, 0, 2});
    for (index_t r = 0; r < 3; ++r) {
      float expected[64];
      decode_row<simd::scalar>(type, E.row(r == 0 ? 4 : r == 1 ? 0 : 2), 64, expected);
      CHECK(mneme_test::bit_difference<float>(y.view().range(r, r + 1),
                                              mat_view<const float>(expected, 1, 64)) == "");
    }
  }
}

TEST_CASE("embedding: an id outside the vocabulary gives zeros") {
  const embedding<float> m({.vocabulary = 3, .d_model = 7}, 1);
  const auto y =
      rows_of(m, {-1, 3, 2, std::numeric_limits<token_id>::max(), std::numeric_limits<token_id>::min()});
  for (index_t r = 0; r < 5; ++r)
    for (float v : y.view()[r]) CHECK((v == 0) == (r != 2));
}

TEST_CASE("embedding refuses impossible sizes and misshapen tensors") {
  CHECK_THROWS_WITH(embedding<float>({.vocabulary = 0, .d_model = 3}),
                    "embedding: vocabulary is 0 and d_model is 3, expected at least 1");
  CHECK_THROWS_WITH(embedding<float>({.vocabulary = 4, .d_model = 3}, {constant_weight({3, 4}, 1)}),
                    "embedding: tensor weight has shape [3, 4], expected [4, 3]");
}
