// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/linear_attention.hpp>

#include "plain_layer.hpp"

using namespace mneme;

static_assert(Batched<linear_attention<float>> && Sampled<linear_attention<double>>);
static_assert(Memory<linear_attention<float, reference>> && row_stable<linear_attention<float>>);

namespace {

double mapped(feature_map f, double x) {
  switch (f) {
    case feature_map::identity: return x;
    case feature_map::elu1: return x > 0 ? x + 1 : std::exp(x);
    case feature_map::relu: return std::max(x, 0.0);
    case feature_map::relu_squared: return x > 0 ? x * x : 0;
    case feature_map::silu: return plain::silu(x);
    case feature_map::sigmoid: return plain::sigmoid(x);
  }
  return x;
}

// As attention: o_t = sum_{s <= t} (phi(q_t).phi(k_s) / sqrt(K)) v_s, without a state.
plain::rows as_attention(const linear_attention_config& c, const linear_attention_params& p,
                         const plain::rows& X) {
  const auto phi = [&](double x) { return mapped(c.features, x); };
  const auto Q = plain::map(plain::product(p.q_proj, X), phi),
             K = plain::map(plain::product(p.k_proj, X), phi), V = plain::product(p.v_proj, X);
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size());
    for (index_t h = 0; h < c.heads; ++h) {
      double sum = 0;
      for (std::size_t s = 0; s <= t; ++s) {
        const double similarity =
            plain::dot(plain::head(Q[t], h, c.head_dim_k), plain::head(K[s], h, c.head_dim_k)) /
            std::sqrt(static_cast<double>(c.head_dim_k));
        sum += similarity;
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += similarity * plain::at(V[s], j);
      }
      if (c.normalise)
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) /= sum + c.epsilon;
    }
    O.push_back(o);
  }
  return plain::product(p.o_proj, O);
}

}  // namespace

TEST_CASE("linear_attention is attention with a kernel of features") {
  for (const feature_map f : {feature_map::identity, feature_map::elu1, feature_map::relu,
                              feature_map::relu_squared, feature_map::silu, feature_map::sigmoid})
    for (const bool normalise : {true, false}) {
      if (normalise && (f == feature_map::identity || f == feature_map::silu))
        continue;  // the sum may vanish
      CAPTURE(static_cast<int>(f), normalise);
      const linear_attention<double> m({.d_model = 7,
                                        .heads = 3,
                                        .head_dim_k = 18,
                                        .head_dim_v = 37,
                                        .features = f,
                                        .normalise = normalise,
                                        .epsilon = 1e-3},
                                       5);
      const auto& c = m.configuration();
      const auto X = plain::random_rows(11, c.d_model, 6);
      const auto expected = as_attention(c, m.weights(), X);
      CHECK(plain::error_of(m, X, expected) <= 1e-12);
      CHECK(plain::error_of(m, X, expected, 8) <= 1e-12);
      CHECK(plain::error_of(linear_attention<double, reference>(c, m.weights()), X, expected) <= 1e-12);
      CHECK(plain::error_of(linear_attention<float>(c, m.weights()), X, expected) <= 2e-5);
    }
}

TEST_CASE("linear_attention, normalised, stays within the values it has seen") {
  const linear_attention_config c{.d_model = 6, .heads = 1};
  linear_attention<float> m(c, 7);
  float* const o = edit<float>(m.weights().o_proj);  // the identity
  for (index_t i = 0; i < 36; ++i) o[i] = i % 7 == 0 ? 1.0f : 0.0f;
  const auto X = plain::random_rows(40, 6, 8), V = plain::product(m.weights().v_proj, X);
  auto s = m.init();
  context ctx;
  std::vector<double> low(6, 1e9), high(6, -1e9);
  for (std::size_t t = 0; t < X.size(); ++t) {
    const std::vector<float> x(X[t].begin(), X[t].end());
    std::vector<float> y(6);
    step(m, ctx, s, x, y);
    for (std::size_t i = 0; i < 6; ++i) {
      low[i] = std::min(low[i], V[t][i]), high[i] = std::max(high[i], V[t][i]);
      CHECK(static_cast<double>(y[i]) >= low[i] - 1e-5);
      CHECK(static_cast<double>(y[i]) <= high[i] + 1e-5);
    }
  }
}

TEST_CASE("linear_attention refuses what does not fit") {
  CHECK(make<linear_attention<float>>({.d_model = 7, .heads = 2})
            .error()
            .message()
            .find("multiple of heads, 2") != std::string::npos);
  CHECK(!make<linear_attention<float>>({.d_model = 7, .heads = 0}).has_value());
  const linear_attention_config c{.d_model = 4, .heads = 2};
  auto p = linear_attention<float>(c).weights();
  p.k_proj = weight::zeros<float>(4, 5);
  CHECK_THROWS_AS(linear_attention<float>(c, p), error);
}
