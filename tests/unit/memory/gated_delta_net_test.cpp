// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gated_delta_net.hpp>

#include "plain_layer.hpp"

using namespace mneme;

static_assert(Batched<gated_delta_net<float>> && Sampled<gated_delta_net<double>>);
static_assert(Memory<gated_delta_net<float, reference>> && row_stable<gated_delta_net<float>>);

namespace {

plain::row unit(plain::row x) {
  const double length = std::sqrt(plain::dot(x, x) + 1e-6);
  for (double& v : x) v /= length;
  return x;
}

// Token by token, head by head, as the equations stand.
plain::rows by_its_equations(const gated_delta_net_config& c, const gated_delta_net_params& p,
                             const plain::rows& X) {
  const auto Q = plain::convolved(plain::product(p.q_proj, X), p.q_conv1d),
             K = plain::convolved(plain::product(p.k_proj, X), p.k_conv1d),
             V = plain::convolved(plain::product(p.v_proj, X), p.v_conv1d);
  const auto A_log = plain::elements(p.A_log), dt_bias = plain::elements(p.dt_bias);
  std::vector<plain::rows> S(static_cast<std::size_t>(c.value_heads),
                             plain::rows(static_cast<std::size_t>(c.head_dim_k),
                                         plain::row(static_cast<std::size_t>(c.head_dim_v))));
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    const auto a = plain::product(p.a_proj, X[t]), b = plain::product(p.b_proj, X[t]);
    plain::row o;
    for (index_t h = 0; h < c.value_heads; ++h) {
      auto& s = S[static_cast<std::size_t>(h)];
      const index_t key_head = h / (c.value_heads / c.heads);
      const auto q = unit(plain::head(Q[t], key_head, c.head_dim_k)),
                 k = unit(plain::head(K[t], key_head, c.head_dim_k)), v = plain::head(V[t], h, c.head_dim_v);
      const double alpha =
          std::exp(-std::exp(plain::at(A_log, h)) * plain::softplus(plain::at(a, h) + plain::at(dt_bias, h)));
      const double beta = plain::sigmoid(plain::at(b, h)) * (c.allow_neg_eigval ? 2 : 1);
      for (auto& r : s)
        for (double& x : r) x *= alpha;
      for (std::size_t j = 0; j < v.size(); ++j) {
        double recalled = 0, read = 0;
        for (std::size_t i = 0; i < k.size(); ++i) recalled += k[i] * s[i][j];
        for (std::size_t i = 0; i < k.size(); ++i) s[i][j] += beta * k[i] * (v[j] - recalled);
        for (std::size_t i = 0; i < k.size(); ++i) read += q[i] * s[i][j];
        o.push_back(read / std::sqrt(static_cast<double>(c.head_dim_k)));
      }
    }
    o = plain::head_norm(o, p.o_norm, c.epsilon);
    if (c.use_gate) {
      const auto gate = plain::product(p.g_proj, X[t]);
      for (std::size_t j = 0; j < o.size(); ++j) o[j] *= plain::silu(gate[j]);
    }
    O.push_back(o);
  }
  return plain::product(p.o_proj, O);
}

}  // namespace

TEST_CASE("gated_delta_net follows its equations") {
  using config = gated_delta_net_config;
  for (const config& given : {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37},
                              config{.d_model = 6,
                                     .heads = 2,
                                     .value_heads = 6,
                                     .conv_size = 3,
                                     .allow_neg_eigval = true,
                                     .epsilon = 0.1},
                              config{.d_model = 5,
                                     .heads = 1,
                                     .value_heads = 2,
                                     .head_dim_k = 4,
                                     .use_short_conv = false,
                                     .use_gate = false},
                              config{.d_model = 5, .heads = 5, .conv_size = 1}}) {
    auto p = gated_delta_net<double>(given, 5).weights();
    plain::randomise(p.o_norm, 1);
    const gated_delta_net<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = by_its_equations(c, p, X);
    for (const index_t cut : {0, 2, 8, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(gated_delta_net<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(gated_delta_net<float>(c, p), X, expected) <= 2e-5);
  }
}

TEST_CASE("gated_delta_net: observing rows leaves the state that reading them leaves") {
  const gated_delta_net<float> m({.d_model = 5, .heads = 2, .head_dim_k = 3}, 5);
  const auto X = mneme_test::random_rows<float>(9, 5, 0, 6);
  mneme_test::matrix<float> Y(9, 5);
  context ctx;
  for (index_t tokens = 0; tokens <= 9; ++tokens)
    for (index_t outs = 0; outs <= tokens; ++outs) {
      auto read = m.init(), observed = m.init();
      scan(m, ctx, read, X.view().first(tokens), Y.view().first(tokens));
      scan(m, ctx, observed, X.view().first(tokens), Y.view().first(outs));
      CHECK(read == observed);
    }
}

TEST_CASE("gated_delta_net: lanes that want other outputs than their last are packed rightly") {
  const gated_delta_net<float> m({.d_model = 5, .heads = 1, .value_heads = 2, .head_dim_k = 3}, 5);
  using state = gated_delta_net<float>::state;
  const index_t rows[] = {3, 0, 1, 6}, outs[] = {1, 0, 1, 4};
  const auto X = mneme_test::random_rows<float>(10, 5, 0, 6);
  mneme_test::matrix<float> expected(6, 5), got(6, 5);
  context ctx;
  std::vector<state> alone(4, m.init()), packed(4, m.init());
  std::vector<lane<state>> lanes;
  index_t x = 0, y = 0;
  for (std::size_t i = 0; i < 4; x += rows[i], y += outs[i], ++i) {
    scan(m, ctx, alone[i], X.view().range(x, x + rows[i]), expected.view().range(y, y + outs[i]));
    lanes.push_back({&packed[i], rows[i], outs[i]});
  }
  scan_many<gated_delta_net<float>>(m, ctx, lanes, X, got.view());
  CHECK(got == expected);
  CHECK(packed == alone);
}

TEST_CASE("gated_delta_net refuses what does not fit") {
  CHECK(!make<gated_delta_net<float>>({.d_model = 6, .heads = 2, .value_heads = 3}).has_value());
  CHECK(!make<gated_delta_net<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<gated_delta_net<float>>({.d_model = 6, .heads = 2, .conv_size = 0}).has_value());
  const gated_delta_net_config c{.d_model = 4, .heads = 2};
  auto p = gated_delta_net<float>(c).weights();
  p.v_conv1d = weight::zeros<float>(8, 4);
  CHECK_THROWS_AS(gated_delta_net<float>(c, p), error);
}
