// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/peer.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "lookup_case.hpp"
#include "outputs.hpp"

using namespace mneme;
using namespace lookup_test;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::outputs;

static_assert(Scannable<peer<float>> && Batched<peer<float>> && row_stable<peer<float>>);

namespace {

template <class T, class Backend>
void peer_meets_golden_values(double bound) {
  const golden file("peer");
  CHECK(file.cases().size() == 5);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) {
      return static_cast<index_t>(std::stoi(file.flag(name, flag)));
    };
    const peer_config c{
        .d_model = file.shape(name, "x")[1],
        .heads = number("heads"),
        .sub_keys = number("sub_keys"),
        .top_k = number("top_k"),
        .d_key = number("dim_key"),
        .gate = file.flag(name, "gate") == "relu" ? product_key_gate::relu : product_key_gate::softmax,
        .separate_embed_per_head = number("separate") == 1,
        .pre_rmsnorm = file.has(name, "norm"),
        .epsilon = 0};
    const auto tensor = [&](const char* what) { return mneme_test::golden_weight(file, name, what); };
    const peer_params p{
        .norm = tensor("norm"),
        .query_proj = tensor("query"),
        .keys = mneme_test::golden_weight(file, name, "keys", {2 * c.heads, c.sub_keys, c.d_key}),
        .weight_down_embed = tensor("down"),
        .weight_up_embed = tensor("up")};
    const auto y = outputs(peer<T, Backend>(c, p), mneme_test::golden_matrix<T>(file, name, "x").view());
    CHECK(mneme_test::golden_error<T>(y, mneme_test::golden_matrix<double>(file, name, "y")) < bound);
  }
}

// sum over some experts of share gelu(u . x) d
vec experts(const peer_params& p, const vec& x, const std::vector<choice>& chosen, double share) {
  vec y(x.size(), 0.0);
  for (const choice& c : chosen) {
    const auto width = static_cast<index_t>(x.size());
    double u = 0;
    for (index_t d = 0; d < width; ++d)
      u += lookup_test::at(p.weight_down_embed, c.id * width + d) * x[static_cast<std::size_t>(d)];
    const double gelu = u / 2 * (1 + std::erf(u / std::sqrt(2.0)));
    for (index_t d = 0; d < width; ++d)
      y[static_cast<std::size_t>(d)] += share * gelu * lookup_test::at(p.weight_up_embed, c.id * width + d);
  }
  return y;
}

}  // namespace

TEST_CASE("peer meets the golden values of the Python package") {
  peer_meets_golden_values<double, native>(1e-12);
  peer_meets_golden_values<double, reference>(1e-12);
  peer_meets_golden_values<float, native>(1e-5);
}

TEST_CASE("peer: all experts under equal scores are a dense layer, the best one alone is an expert",
          "[L20]") {
  const auto X = mneme_test::random_rows<double>(5, 6, 0, 4);
  const auto check = [&](const peer<double>& m, auto&& expected_row) {
    const auto Y = outputs(m, X.view());
    matrix<double> expected(5, 6);
    for (index_t t = 0; t < 5; ++t) {
      const vec y = expected_row(row_of<double>(X.view()[t]));
      std::copy(y.begin(), y.end(), expected.view()[t].begin());
    }
    CHECK(mneme_test::golden_error<double>(Y, expected) < 1e-12);
  };
  peer<double> all({.d_model = 6, .sub_keys = 4, .top_k = 16}, 1);
  all.weights().keys = constant_weight({2, 4, 2}, 0);
  const auto none = select(all.weights().keys, 0, 16, vec(4, 0.0));  // every expert once
  check(all, [&](const vec& x) { return experts(all.weights(), x, none, 1.0 / 16); });

  const peer<double> best({.d_model = 6, .sub_keys = 5, .top_k = 1}, 2);
  check(best, [&](const vec& x) {
    return experts(best.weights(), x,
                   select(best.weights().keys, 0, 1, affine(best.weights().query_proj, {}, x)), 1);
  });
}

TEST_CASE("peer: a row of NaN runs no expert") {
  const peer<float> m({.d_model = 6, .heads = 2, .sub_keys = 4, .top_k = 3});
  const matrix<float> bad(1, 6);
  const auto Y = outputs(m, bad.view());
  for (const float y : Y.view()[0]) CHECK(y == 0);
}

TEST_CASE("peer refuses impossible sizes") {
  using memory = peer<float>;
  CHECK_THROWS_WITH(memory({.d_model = 4, .heads = 0}), "peer: heads is 0, expected at least 1");
  CHECK_THROWS_WITH(memory({.d_model = 33, .sub_keys = 3, .top_k = 2, .storage = dtype::q8_0}),
                    "peer: experts of width 33 cannot be stored as Q8_0, expected a multiple of 32");
}
