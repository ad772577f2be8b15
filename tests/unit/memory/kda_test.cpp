// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gated_delta_net.hpp>
#include <mneme/memory/kda.hpp>

#include "golden_recurrence.hpp"
#include "plain_delta.hpp"

using namespace mneme;

static_assert(Batched<kda<float>> && Sampled<kda<double>>);
static_assert(Memory<kda<float, reference>> && row_stable<kda<float>>);

namespace {

plain::rows by_its_equations(const kda_config& c, const kda_params& p, const plain::rows& X) {
  const auto A_log = plain::elements(p.A_log), dt_bias = plain::elements(p.dt_bias);
  const auto F = plain::product(p.f_proj_up, plain::product(p.f_proj_down, X));
  auto O = plain::delta_outputs(c, p, c.value_heads, X, [&](std::size_t t, index_t h, index_t i) {
    const index_t channel = h * c.head_dim_k + i;
    return std::exp(-std::exp(plain::at(A_log, h)) *
                    plain::softplus(plain::at(F[t], channel) + plain::at(dt_bias, channel)));
  });
  const auto gate = plain::product(p.g_proj_up, plain::product(p.g_proj_down, X));
  const auto bias = plain::elements(p.g_proj_bias);
  for (std::size_t t = 0; t < X.size(); ++t) {
    O[t] = plain::head_norm(O[t], p.o_norm, c.epsilon);
    for (std::size_t j = 0; j < O[t].size(); ++j) O[t][j] *= plain::sigmoid(gate[t][j] + bias[j]);
  }
  return plain::product(p.o_proj, O);
}

}  // namespace

TEST_CASE("kda follows its equations") {
  using config = kda_config;
  for (const config& given : {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37},
                              config{.d_model = 6,
                                     .heads = 2,
                                     .value_heads = 6,
                                     .conv_size = 3,
                                     .allow_neg_eigval = true,
                                     .epsilon = 0.1},
                              config{.d_model = 5, .heads = 5, .use_short_conv = false}}) {
    auto p = kda<double>(given, 5).weights();
    plain::randomise(p.o_norm, 1);
    const kda<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = by_its_equations(c, p, X);
    for (const index_t cut : {0, 2, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(kda<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(kda<float>(c, p), X, expected) <= 5e-5);
  }
}

TEST_CASE("kda's rule meets the golden values") {
  golden_recurrence::meets<rules::kda, double>("kda", 1e-12);
  golden_recurrence::meets<rules::kda, float>("kda", 5e-6);
}

TEST_CASE("kda recalls the newest pair exactly, whatever the decay") {  // D2
  plain::recalls_the_newest_pair<kda<double>>(
      {.d_model = 6, .heads = 1, .head_dim_k = 4, .head_dim_v = 3, .use_short_conv = false});
}

TEST_CASE("kda whose key channels fade alike is gated_delta_net", "[L20]") {  // R9
  const kda_config c{.d_model = 6, .heads = 2, .value_heads = 4, .head_dim_k = 3, .head_dim_v = 5};
  auto p = kda<double>(c, 7).weights();
  const auto fill = [](weight& w, float value) { std::fill_n(edit<float>(w), w.size(), value); };
  fill(p.f_proj_up, 0), fill(p.g_proj_up, 0), fill(p.g_proj_bias, 1000);  // the gate is 1
  gated_delta_net_params g;
  g.q_proj = p.q_proj, g.k_proj = p.k_proj, g.v_proj = p.v_proj;
  g.a_proj = weight::zeros<float>(4, 6), g.dt_bias = weight::zeros<float>(4);
  g.b_proj = p.b_proj, g.A_log = p.A_log, g.o_norm = p.o_norm, g.o_proj = p.o_proj;
  g.q_conv1d = p.q_conv1d, g.k_conv1d = p.k_conv1d, g.v_conv1d = p.v_conv1d;
  for (index_t h = 0; h < 4; ++h) {
    const float bias = -0.5f * static_cast<float>(h);
    edit<float>(g.dt_bias)[h] = bias;
    std::fill_n(edit<float>(p.dt_bias) + 3 * h, 3, bias);
  }
  const kda<double> m(c, p);
  const gated_delta_net<double> gated(
      {.d_model = 6, .heads = 2, .value_heads = 4, .head_dim_k = 3, .head_dim_v = 5, .use_gate = false}, g);
  context ctx;
  auto s = m.init();
  auto t = gated.init();
  for (const auto& x : plain::random_rows(7, 6, 8)) {
    plain::row y(6), z(6);
    step(m, ctx, s, x, y);
    step(gated, ctx, t, x, z);
    for (std::size_t i = 0; i < 6; ++i) CHECK(std::abs(y[i] - z[i]) <= 1e-13);
  }
  for (index_t i = 0; i < s.S.size(); ++i) CHECK(std::abs(s.S[i] - t.S[i]) <= 1e-13);
}

TEST_CASE("kda refuses what does not fit") {
  CHECK(!make<kda<float>>({.d_model = 6, .heads = 2, .value_heads = 3}).has_value());
  CHECK(!make<kda<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<kda<float>>({.d_model = 6, .heads = 2, .conv_size = 0}).has_value());
  const kda_config c{.d_model = 4, .heads = 2};
  auto p = kda<float>(c).weights();
  p.dt_bias = weight::zeros<float>(2);
  CHECK_THROWS_AS(kda<float>(c, p), error);
}
