// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/delta_net.hpp>
#include <mneme/memory/gated_delta_net.hpp>

#include "golden_recurrence.hpp"
#include "plain_delta.hpp"

using namespace mneme;

static_assert(Batched<delta_net<float>> && Sampled<delta_net<double>>);
static_assert(Memory<delta_net<float, reference>> && row_stable<delta_net<float>>);

namespace {

plain::rows by_its_equations(const delta_net_config& c, const delta_net_params& p, const plain::rows& X) {
  auto O = plain::delta_outputs(c, p, c.heads, X, [](auto...) { return 1.0; });
  for (std::size_t t = 0; t < X.size(); ++t) {
    O[t] = plain::head_norm(O[t], p.o_norm, c.epsilon);
    if (!c.use_gate) continue;
    const auto gate = plain::product(p.g_proj, X[t]);
    for (std::size_t j = 0; j < O[t].size(); ++j) O[t][j] *= plain::silu(gate[j]);
  }
  return plain::product(p.o_proj, O);
}

const delta_net_config one_head{
    .d_model = 6, .heads = 1, .head_dim_k = 4, .head_dim_v = 3, .use_short_conv = false};

double distance(const buffer<double>& a, const buffer<double>& b) {
  double most = 0;
  for (index_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("delta_net follows its equations") {
  using config = delta_net_config;
  for (const config& given :
       {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37, .use_gate = true},
        config{.d_model = 6, .heads = 2, .conv_size = 3, .allow_neg_eigval = true, .epsilon = 0.1},
        config{.d_model = 5, .heads = 5, .use_short_conv = false}}) {
    auto p = delta_net<double>(given, 5).weights();
    plain::randomise(p.o_norm, 1);
    const delta_net<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = by_its_equations(c, p, X);
    for (const index_t cut : {0, 2, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(delta_net<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(delta_net<float>(c, p), X, expected) <= 5e-5);
  }
}

TEST_CASE("delta_net's rule meets the golden values") {
  golden_recurrence::meets<rules::delta_net, double>("delta_rule", 1e-12);
  golden_recurrence::meets<rules::delta_net, float>("delta_rule", 5e-6);
}

TEST_CASE("delta_net is gated_delta_net that forgets nothing", "[L20]") {  // R9
  const gated_delta_net_config c{.d_model = 6, .heads = 2, .head_dim_k = 3, .head_dim_v = 5};
  auto g = gated_delta_net<double>(c, 7).weights();
  std::fill_n(edit<float>(g.A_log), 2, -1000.0f);  // alpha = e^-0
  const gated_delta_net<double> gated(c, g);
  const delta_net<double> m({.d_model = 6, .heads = 2, .head_dim_k = 3, .head_dim_v = 5, .use_gate = true},
                            {g.q_proj, g.k_proj, g.v_proj, g.b_proj, g.q_conv1d, g.k_conv1d, g.v_conv1d,
                             g.g_proj, g.o_norm, g.o_proj});
  context ctx;
  auto s = m.init();
  auto t = gated.init();
  for (const auto& x : plain::random_rows(7, 6, 8)) {
    plain::row y(6), z(6);
    step(m, ctx, s, x, y);
    step(gated, ctx, t, x, z);
    for (std::size_t i = 0; i < 6; ++i) CHECK(std::abs(y[i] - z[i]) <= 1e-13);
  }
  CHECK(distance(s.S, t.S) <= 1e-13);
}

TEST_CASE("delta_net recalls all pairs under orthonormal keys exactly") {  // D1
  auto p = plain::sharp(delta_net<double>(one_head, 3).weights());
  float* const k = edit<float>(p.k_proj);
  for (index_t i = 0; i < 4; ++i)
    for (index_t j = 0; j < 6; ++j) k[i * 6 + j] = i == j ? 1e5f : 0;
  const delta_net<double> m(one_head, p);
  context ctx;
  auto s = m.init();
  plain::rows X;
  for (index_t i = 0; i < 4; ++i) {
    X.push_back({0, 0, 0, 0, 0.25 * static_cast<double>(i), 1});
    plain::at(X.back(), i) = 1;
    plain::row y(6);
    step(m, ctx, s, X.back(), y);
  }
  for (const auto& x : X) CHECK(plain::recall_error(m, s.S, x) <= 1e-9);
}

TEST_CASE("delta_net recalls the newest pair exactly") {  // D2
  plain::recalls_the_newest_pair<delta_net<double>>(one_head);
}

TEST_CASE("delta_net: writing a pair again changes nothing") {  // D3
  const delta_net<double> m(one_head, plain::sharp(delta_net<double>(one_head, 3).weights()));
  context ctx;
  auto s = m.init();
  plain::row y(6);
  const auto X = plain::random_rows_ending_in_one(5, 6, 4);
  for (const auto& x : X) step(m, ctx, s, x, y);
  const auto before = s;
  step(m, ctx, s, X.back(), y);
  CHECK(distance(s.S, before.S) <= 1e-9);
}

TEST_CASE("delta_net: beta = 2 reflects what a key recalls") {  // D4
  auto c = one_head;
  c.allow_neg_eigval = true;
  auto p = plain::sharp(delta_net<double>(c, 3).weights());
  std::fill_n(edit<float>(p.v_proj), p.v_proj.size(), 0.0f);
  const delta_net<double> m(c, p);
  context ctx;
  auto s = m.init();
  random_stream draw(1, 2);
  for (double& v : s.S) v = draw.normal();
  const auto start = s;
  const auto norm = [](const buffer<double>& S) {
    const plain::row all(S.begin(), S.end());
    return std::sqrt(plain::dot(all, all));
  };
  plain::row y(6);
  const auto x = plain::random_rows_ending_in_one(1, 6, 4)[0];
  step(m, ctx, s, x, y);
  CHECK(std::abs(norm(s.S) - norm(start.S)) <= 1e-9);
  CHECK(distance(s.S, start.S) > 0.1);
  step(m, ctx, s, x, y);
  CHECK(distance(s.S, start.S) <= 1e-9);
}

TEST_CASE("delta_net takes the widths of its model where none is given") {
  const delta_net<float> m({.d_model = 24, .heads = 3});
  CHECK(m.configuration().head_dim_k == 8);
  CHECK(m.init().S.size() == 3 * 8 * 8);
  CHECK(!m.weights().g_proj);
}

TEST_CASE("delta_net refuses what does not fit") {
  CHECK(!make<delta_net<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(make<delta_net<float>>({.d_model = 7, .heads = 2, .head_dim_k = 3, .head_dim_v = 2}).has_value());
  CHECK(!make<delta_net<float>>({.d_model = 6, .heads = 2, .conv_size = 0}).has_value());
  CHECK(!make<delta_net<float>>({.d_model = 6, .heads = 2, .epsilon = -1}).has_value());
  const delta_net_config c{.d_model = 4, .heads = 2};
  auto p = delta_net<float>(c).weights();
  p.v_conv1d = weight::zeros<float>(4, 4);
  CHECK_THROWS_AS(delta_net<float>(c, p), error);
}
