// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gla.hpp>
#include <mneme/memory/linear_attention.hpp>

#include "plain_layer.hpp"

using namespace mneme;

static_assert(Batched<gla<float>> && Sampled<gla<double>> && Memory<gla<float, reference>> &&
              row_stable<gla<float>>);

namespace {

// As attention: o_t = sum_{s <= t} sum_i q_t[i] k_s[i] (product of alpha_r[i], s < r <= t) v_s / sqrt(K), no
// state.
plain::rows as_attention(const gla_config& c, const gla_params& p, const plain::rows& X) {
  const auto Q = plain::product(p.q_proj, X), K = plain::product(p.k_proj, X),
             V = plain::product(p.v_proj, X);
  auto A = plain::product(p.gk_proj_up, plain::product(p.gk_proj_down, X));
  const auto bias = plain::elements(p.gk_proj_bias);
  for (auto& a : A)
    for (std::size_t i = 0; i < a.size(); ++i)
      a[i] = std::pow(plain::sigmoid(a[i] + bias[i]), 1 / c.gate_normaliser);
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size()), kept(K[t].size(), 1.0);
    for (std::size_t s = t + 1; s-- > 0;) {
      for (index_t h = 0; h < c.heads; ++h) {
        double similarity = 0;
        for (index_t i = h * c.head_dim_k; i < (h + 1) * c.head_dim_k; ++i)
          similarity += plain::at(Q[t], i) * plain::at(K[s], i) * plain::at(kept, i);
        similarity /= std::sqrt(static_cast<double>(c.head_dim_k));
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += similarity * plain::at(V[s], j);
      }
      for (std::size_t i = 0; i < kept.size(); ++i) kept[i] *= A[s][i];
    }
    o = plain::head_norm(o, p.g_norm, c.epsilon);
    const auto gate = plain::product(p.g_proj, X[t]);
    for (std::size_t j = 0; j < o.size(); ++j) o[j] *= plain::silu(gate[j]);
    O.push_back(o);
  }
  return plain::product(p.o_proj, O);
}

}  // namespace

TEST_CASE("gla is attention under decaying keys") {
  for (const gla_config c :
       {gla_config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37, .gate_rank = 5},
        gla_config{.d_model = 12, .heads = 2, .gate_normaliser = 0.5, .epsilon = 0.1}}) {
    gla<double> m(c, 5);
    plain::randomise(m.weights().g_norm, 1);
    plain::randomise(m.weights().gk_proj_bias, 2);
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_attention(m.configuration(), m.weights(), X);
    CHECK(plain::error_of(m, X, expected) <= 1e-12);
    CHECK(plain::error_of(m, X, expected, 8) <= 1e-12);
    CHECK(plain::error_of(gla<double, reference>(c, m.weights()), X, expected) <= 1e-12);
    CHECK(plain::error_of(gla<float>(c, m.weights()), X, expected) <= 2e-5);
  }
}

TEST_CASE("gla takes the published expansions where no head width is given") {
  const gla<float> m({.d_model = 24, .heads = 3});
  CHECK(m.configuration().head_dim_k == 4);
  CHECK(m.configuration().head_dim_v == 8);
  CHECK(m.init().S.size() == 3 * 4 * 8);
}

TEST_CASE("gla forgets everything behind a saturated gate", "[L20]") {
  gla<float> m({.d_model = 6, .heads = 1, .gate_normaliser = 1}, 3), fresh = m;
  float* const bias = edit<float>(m.weights().gk_proj_bias);
  std::fill_n(bias, 3, -1e4f);  // alpha underflows to 0: every token starts anew
  context ctx;
  auto s = m.init();
  const auto X = plain::random_rows(5, 6, 4);
  for (const auto& row : X) {
    const std::vector<float> x(row.begin(), row.end());
    std::vector<float> y(6), alone(6);
    step(m, ctx, s, x, y);
    auto start = fresh.init();
    step(fresh, ctx, start, x, alone);
    CHECK(y == alone);
  }
}

TEST_CASE("gla refuses what does not fit") {
  const auto refusal = [](const gla_config& c) {
    const auto made = make<gla<float>>(c);
    return made ? "" : made.error().message();
  };
  CHECK(refusal({.d_model = 6, .heads = 0}) == "gla: heads is 0, expected at least 1");
  CHECK(refusal({.d_model = 6, .heads = 2, .gate_rank = 0}).starts_with("gla: d_model is 6"));
  CHECK(refusal({.d_model = 4, .heads = 2, .gate_rank = 0}) == "gla: gate_rank is 0, expected at least 1");
  CHECK(refusal({.d_model = 6, .heads = 2}) ==
        "gla: d_model is 6, expected a multiple of twice the heads, 2, or an explicit head_dim_k");
  CHECK(refusal({.d_model = 7, .heads = 2, .head_dim_k = 3}) ==
        "gla: d_model is 7, expected a multiple of heads, 2, or an explicit head_dim_v");
  CHECK(make<gla<float>>({.d_model = 6, .heads = 2, .head_dim_k = 3}).has_value());
  CHECK(!make<gla<float>>({.d_model = 8, .heads = 2, .gate_normaliser = 0}).has_value());
  const gla_config c{.d_model = 4, .heads = 2};
  auto p = gla<float>(c).weights();
  p.gk_proj_bias = weight::zeros<float>(5);
  CHECK_THROWS_WITH(gla<float>(c, p), "gla: tensor gk_proj.1.bias has shape [5], expected [2]");
}
