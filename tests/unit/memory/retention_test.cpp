// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/retention.hpp>
#include <mneme/memory/simple_gla.hpp>

#include "golden_layer.hpp"
#include "outputs.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::outputs;

static_assert(Batched<retention<float>> && Sampled<retention<double>>);
static_assert(Memory<retention<float, reference>> && row_stable<retention<float>>);

namespace {

// q.k of one head `distance` tokens apart: pairs of channels as complex numbers, turned by that distance.
double similarity(const retention_config& c, const plain::row& q, const plain::row& k, double distance) {
  if (c.rope_base == 0) return plain::dot(q, k);
  const bool interleaved = c.pairs == rope_pairs::interleaved;
  const index_t K = c.head_dim_k;
  double sum = 0;
  for (index_t i = 0; i < K / 2; ++i) {
    const index_t a = interleaved ? 2 * i : i, b = interleaved ? a + 1 : a + K / 2;
    const double angle =
        distance * std::pow(c.rope_base, -2 * static_cast<double>(i) / static_cast<double>(K));
    sum += (plain::at(q, a) * plain::at(k, a) + plain::at(q, b) * plain::at(k, b)) * std::cos(angle) +
           (plain::at(q, a) * plain::at(k, b) - plain::at(q, b) * plain::at(k, a)) * std::sin(angle);
  }
  return sum;
}

// As attention: o_t = sum_{s <= t} gamma^(t - s) (q_t turned by t - s).k_s v_s / sqrt(K), without a state.
plain::rows as_attention(const retention_config& c, const retention_params& p, const plain::rows& X) {
  const auto Q = plain::product(p.q_proj, X), K = plain::product(p.k_proj, X),
             V = plain::product(p.v_proj, X);
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size());
    for (index_t h = 0; h < c.heads; ++h)
      for (std::size_t s = 0; s <= t; ++s) {
        const auto distance = static_cast<double>(t - s);
        const double weight =
            std::pow(1 - std::pow(2.0, -5 - static_cast<double>(h)), distance) *
            similarity(c, plain::head(Q[t], h, c.head_dim_k), plain::head(K[s], h, c.head_dim_k), distance) /
            std::sqrt(static_cast<double>(c.head_dim_k));
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += weight * plain::at(V[s], j);
      }
    o = plain::head_norm(o, p.g_norm, c.epsilon);
    const auto gate = plain::product(p.g_proj, X[t]);
    for (std::size_t j = 0; j < o.size(); ++j) o[j] *= plain::silu(gate[j]);
    O.push_back(o);
  }
  return plain::product(p.o_proj, O);
}

template <class M>
void retention_meets_golden_values(double bound) {
  const golden file("retention_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const index_t heads = mneme_test::golden_number(file, name, "heads");
    const auto m = mneme_test::golden_layer<M>(file, name,
                                               {.d_model = file.shape(name, "x")[1],
                                                .heads = heads,
                                                .head_dim_k = file.shape(name, "q_proj.weight")[0] / heads,
                                                .head_dim_v = file.shape(name, "v_proj.weight")[0] / heads});
    auto s = m.init();
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "s1", s.S) <= bound);
    CHECK(s.position == file.shape(name, "x")[0]);
  }
}

}  // namespace

TEST_CASE("retention is attention with fixed decays, and sees distances") {
  using config = retention_config;
  for (const config& given :
       {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37, .epsilon = 0.1},
        config{.d_model = 8, .heads = 2, .rope_base = 100, .pairs = rope_pairs::interleaved},
        config{.d_model = 6, .heads = 2, .head_dim_k = 5, .rope_base = 0}}) {
    retention<double> m(given, 5);
    plain::randomise(m.weights().g_norm, 1);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_attention(c, m.weights(), X);
    CHECK(plain::error_of(m, X, expected) <= 1e-12);
    CHECK(plain::error_of(m, X, expected, 8) <= 1e-12);
    CHECK(plain::error_of(retention<double, reference>(c, m.weights()), X, expected) <= 1e-12);
    CHECK(plain::error_of(retention<float>(c, m.weights()), X, expected) <= 2e-5);
  }
}

TEST_CASE("retention meets the golden values") {
  retention_meets_golden_values<retention<double>>(1e-12);
  retention_meets_golden_values<retention<double, reference>>(1e-12);
  retention_meets_golden_values<retention<float>>(2e-5);
}

TEST_CASE("retention: all positions moved alike change no output") {
  const retention<double> m({.d_model = 8, .heads = 2}, 3);
  const auto X = mneme_test::random_rows<double>(9, 8, 0, 4);
  mneme_test::matrix<double> Y(9, 8), later(9, 8);
  context ctx;
  auto s = m.init(), s_later = m.init();
  s_later.position = 1000;
  scan(m, ctx, s, X, Y.view());
  scan(m, ctx, s_later, X, later.view());
  CHECK(mneme_test::golden_error<double>(later.view(), Y) <= 1e-11);
  CHECK(s_later.position == 1009);
  CHECK(s_later.S != s.S);
}

TEST_CASE("retention without rotation is simple_gla with constant decays", "[L20]") {
  const retention<double> m({.d_model = 8, .heads = 2, .head_dim_v = 4, .rope_base = 0}, 3);
  const auto& p = m.weights();
  const simple_gla_config c{.d_model = 8, .heads = 2, .use_short_conv = false, .gate_normaliser = 1};
  auto q = simple_gla<double>(c).weights();
  q.q_proj = p.q_proj, q.k_proj = p.k_proj, q.v_proj = p.v_proj, q.g_proj = p.g_proj, q.o_proj = p.o_proj;
  q.gk_proj = weight::zeros<float>(2, 8), q.gk_proj_bias = weight::zeros<double>(2);
  for (int h = 0; h < 2; ++h)  // sigmoid(log(2^(5 + h) - 1)) = 1 - 2^(-5 - h)
    edit<double>(q.gk_proj_bias)[h] = std::log(std::ldexp(1.0, 5 + h) - 1);
  const simple_gla<double> other(c, q);
  const auto X = mneme_test::random_rows<double>(40, 8, 0, 4);
  CHECK(mneme_test::golden_error<double>(outputs(m, X).view(), outputs(other, X)) <= 1e-12);
}

TEST_CASE("retention refuses what does not fit") {
  CHECK(make<retention<float>>({.d_model = 6, .heads = 2}).error().message().find("even number") !=
        std::string::npos);
  CHECK(make<retention<float>>({.d_model = 6, .heads = 2, .rope_base = 0}).has_value());
  CHECK(!make<retention<float>>({.d_model = 7, .heads = 2, .head_dim_k = 4}).has_value());
  CHECK(!make<retention<float>>({.d_model = 8, .heads = 2, .rope_base = -1}).has_value());
  const retention_config c{.d_model = 4, .heads = 2};
  auto p = retention<float>(c).weights();
  CHECK(p.v_proj.rows() == 8);  // twice the keys
  p.g_norm = weight::zeros<float>(5);
  CHECK_THROWS_AS(retention<float>(c, p), error);
  const retention<float> m(c);
  auto s = m.init();
  CHECK(valid(m, s));
  s.position = -1;
  CHECK(!valid(m, s));
}
