// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/linear_attention.hpp>
#include <mneme/memory/mlstm.hpp>
#include <mneme/memory/simple_gla.hpp>

#include "golden_layer.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;

static_assert(Batched<mlstm<float>> && Sampled<mlstm<double>>);
static_assert(Memory<mlstm<float, reference>> && row_stable<mlstm<float>>);

namespace {

mlstm_params drawn(const mlstm_config& c) {
  mlstm_params p = mlstm<double>(c, 5).weights();
  plain::randomise(p.multihead_norm, 1);
  return p;
}
// A gate that does not depend on x.
void fix(weight& W, weight& b, float value) {
  W = weight::zeros<float>(W.rows(), W.cols());
  std::fill_n(edit<float>(b), b.size(), value);
}
plain::rows magnitudes(const plain::rows& X) {
  return plain::map(X, [](double x) { return std::abs(x); });
}
void make_positive(weight& w) {
  for (index_t i = 0; i < w.size(); ++i) edit<float>(w)[i] = std::abs(data<float>(w)[i]);
}

// What follows the read: norm of every head, output gate, projection.
plain::rows finished(const mlstm_config& c, const mlstm_params& p, const plain::rows& X, plain::rows H) {
  const auto G = plain::product(p.ogate_preact, X);
  const auto gain = plain::elements(p.multihead_norm);
  const index_t V = c.head_dim_v;
  for (std::size_t t = 0; t < X.size(); ++t)
    for (index_t h = 0; h < c.heads; ++h) {
      plain::row x = plain::head(H[t], h, V);
      double mean = 0;
      for (const double v : x) mean += v / static_cast<double>(V);
      for (double& v : x) v -= mean;
      const double deviation = std::sqrt(plain::dot(x, x) / static_cast<double>(V) + c.epsilon);
      for (index_t j = 0; j < V; ++j)
        plain::at(H[t], h * V + j) = plain::at(x, j) / deviation * plain::at(gain, h * V + j) *
                                     plain::sigmoid(plain::at(G[t], h * V + j));
    }
  return plain::product(p.out_proj, H);
}

plain::rows gate(const mlstm_config& c, const weight& W, const weight& b, const plain::rows& X) {
  plain::rows G = plain::product(W, X);
  const auto bias = plain::elements(b);
  for (auto& g : G)
    for (std::size_t h = 0; h < g.size(); ++h) {
      g[h] += bias[h];
      if (c.gate_soft_cap > 0) g[h] = c.gate_soft_cap * std::tanh(g[h] / c.gate_soft_cap);
    }
  return G;
}

// By the definition, in true scale and without a state: o_t = sum_{s <= t} w_ts v_s / max(|sum_s w_ts|, 1),
// w_ts = e^(i_s + sum of log f after s) q_t.k_s / sqrt(K); epsilon counts in units of the largest e^(...) so
// far.
plain::rows as_attention(const mlstm_config& c, const mlstm_params& p, const plain::rows& X) {
  const auto Q = plain::product(p.q, X), K = plain::product(p.k, X), V = plain::product(p.v, X),
             I = gate(c, p.igate_preact, p.igate_preact_bias, X),
             F = gate(c, p.fgate_preact, p.fgate_preact_bias, X);
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size());
    for (index_t h = 0; h < c.heads; ++h) {
      double kept = 0, sum = 0, most = -1e300;
      for (std::size_t s = t + 1; s-- > 0;) {
        const double exponent = kept + plain::at(I[s], h);
        const double w = std::exp(exponent) *
                         plain::dot(plain::head(Q[t], h, c.head_dim_k), plain::head(K[s], h, c.head_dim_k)) /
                         std::sqrt(static_cast<double>(c.head_dim_k));
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += w * plain::at(V[s], j);
        sum += w;
        most = std::max(most, exponent);
        kept -= std::log1p(std::exp(-plain::at(F[s], h)));
      }
      const double divisor =
          std::max(std::abs(sum), 1.0) + c.normaliser_epsilon * std::exp(std::max(most, kept));
      for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j) plain::at(o, j) /= divisor;
    }
    O.push_back(o);
  }
  return finished(c, p, X, O);
}

template <class M>
void mlstm_meets_golden_values(double bound) {
  using T = typename M::scalar;
  const golden file("mlstm");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const index_t heads = mneme_test::golden_number(file, name, "heads");
    const auto m = mneme_test::golden_layer<M>(
        file, name,
        {.d_model = file.shape(name, "x")[1],
         .heads = heads,
         .head_dim_k = file.shape(name, "q.weight")[0] / heads,
         .head_dim_v = file.shape(name, "v.weight")[0] / heads,
         .gate_soft_cap = static_cast<double>(mneme_test::golden_number(file, name, "soft_cap"))});
    auto s = m.init();
    const auto set = [&](buffer<T>& part, const char* tensor) {
      const auto values = file.values(name, tensor);
      for (index_t i = 0; i < part.size(); ++i) part[i] = static_cast<T>(plain::at(values, i));
    };
    set(s.S, "c0");
    set(s.n, "n0");
    set(s.m, "m0");
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "c1", s.S) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "n1", s.n) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "m1", s.m) <= bound);
  }
}

const mlstm_config small{.d_model = 6, .heads = 2, .head_dim_k = 3, .head_dim_v = 3, .gate_soft_cap = 0};

}  // namespace

TEST_CASE("mlstm is attention whose weights are exponential gates") {
  using config = mlstm_config;
  for (const config& given :
       {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37, .gate_soft_cap = 0.5},
        config{.d_model = 8, .heads = 2, .gate_soft_cap = 0, .normaliser_epsilon = 0.1, .epsilon = 0.01}}) {
    const auto p = drawn(given);
    const mlstm<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_attention(c, p, X);
    for (const index_t cut : {0, 2, 8, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(mlstm<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(mlstm<float>(c, p), X, expected) <= 2e-5);
  }
}

TEST_CASE("mlstm meets the golden values") {
  mlstm_meets_golden_values<mlstm<double>>(1e-12);
  mlstm_meets_golden_values<mlstm<double, reference>>(1e-12);
  mlstm_meets_golden_values<mlstm<float>>(2e-5);
}

TEST_CASE("mlstm: gates far open and far shut") {
  const auto X = plain::random_rows(11, 6, 6);
  for (const float input : {-80.0f, 0.0f, 80.0f})
    for (const float forget : {-80.0f, 0.0f, 80.0f}) {
      CAPTURE(input, forget);
      auto p = drawn(small);
      std::fill_n(edit<float>(p.igate_preact_bias), 2, input);
      std::fill_n(edit<float>(p.fgate_preact_bias), 2, forget);
      const auto expected = as_attention(small, p, X);
      CHECK(plain::error_of(mlstm<double>(small, p), X, expected) <= 1e-12);
      CHECK(plain::error_of(mlstm<float>(small, p), X, expected) <= 2e-5);
    }
}

TEST_CASE("mlstm: a constant added to every input gate cancels where |n.q| exceeds 1") {
  auto p = drawn(small);
  make_positive(p.q);
  make_positive(p.k);
  const auto X = magnitudes(plain::random_rows(30, 6, 6));
  std::fill_n(edit<float>(p.igate_preact_bias), 2, 20.0f);
  const auto expected = as_attention(small, p, X);
  std::fill_n(edit<float>(p.igate_preact_bias), 2, 120.0f);  // e^120 is no float
  CHECK(plain::error_of(mlstm<double>(small, p), X, expected) <= 1e-12);
  CHECK(plain::error_of(mlstm<float>(small, p), X, expected) <= 2e-5);
}

TEST_CASE("mlstm: the scale of a state is in its stabiliser") {
  auto c = small;
  c.normaliser_epsilon = 0;
  const mlstm<double> m(c, drawn(c));
  const auto X = mneme_test::random_rows<double>(20, 6, 0, 4);
  context ctx;
  auto s = m.init();
  mneme_test::matrix<double> Y(8, 6), Z(8, 6);
  scan(m, ctx, s, X.view().range(0, 12), Y.view().range(0, 0));
  auto other = s;
  for (index_t h = 0; h < 2; ++h) other.m[h] += 3;
  for (index_t i = 0; i < s.S.size(); ++i) other.S[i] *= std::exp(-3);
  for (index_t i = 0; i < s.n.size(); ++i) other.n[i] *= std::exp(-3);
  scan(m, ctx, s, X.view().range(12, 20), Y.view());
  scan(m, ctx, other, X.view().range(12, 20), Z.view());
  CHECK(mneme_test::golden_error<double>(Z.view(), Y) <= 1e-12);
}

TEST_CASE("mlstm with open input gates and small reads is simple_gla", "[L20]") {
  auto c = small;
  c.normaliser_epsilon = 0;
  auto p = drawn(c);
  fix(p.igate_preact, p.igate_preact_bias, 0);
  weight norm = weight::zeros<float>(3);
  const simple_gla<double> other({.d_model = 6,
                                  .heads = 2,
                                  .head_dim_k = 3,
                                  .head_dim_v = 3,
                                  .use_short_conv = false,
                                  .gate_normaliser = 1},
                                 simple_gla_params{.q_proj = p.q,
                                                   .k_proj = p.k,
                                                   .v_proj = p.v,
                                                   .g_proj = p.ogate_preact,
                                                   .q_conv1d = {},
                                                   .k_conv1d = {},
                                                   .v_conv1d = {},
                                                   .gk_proj = p.fgate_preact,
                                                   .gk_proj_bias = p.fgate_preact_bias,
                                                   .g_norm = norm,
                                                   .o_proj = p.out_proj});
  const mlstm<double> m(c, p);
  const auto X = plain::map(plain::random_rows(20, 6, 4), [](double x) { return x / 4; });
  const auto Q = plain::product(p.q, X);
  auto s = m.init();
  auto of_other = other.init();
  context ctx;
  plain::rows reads;
  std::vector<double> y(6);
  for (std::size_t t = 0; t < X.size(); ++t) {
    step(m, ctx, s, X[t], y);
    step(other, ctx, of_other, X[t], y);
    reads.emplace_back(6);
    for (index_t h = 0; h < 2; ++h) {
      double sum = 0;
      for (index_t i = 0; i < 3; ++i) {
        const double q = plain::at(Q[t], h * 3 + i) / std::sqrt(3.0);
        sum += q * s.n[h * 3 + i];
        for (index_t j = 0; j < 3; ++j) plain::at(reads[t], h * 3 + j) += q * of_other.S[(h * 3 + i) * 3 + j];
      }
      REQUIRE(std::abs(sum) <= 1);
      CHECK(s.m[h] == 0);
    }
  }
  for (index_t i = 0; i < s.S.size(); ++i)
    CHECK(s.S[i] == Approx(of_other.S[i]).epsilon(1e-12).margin(1e-14));
  CHECK(plain::error_of(m, X, finished(c, p, X, reads)) <= 1e-12);
}

TEST_CASE("mlstm with open gates and large reads is linear_attention, normalised", "[L20]") {
  auto c = small;
  c.normaliser_epsilon = 0;
  auto p = drawn(c);
  fix(p.igate_preact, p.igate_preact_bias, 0);
  fix(p.fgate_preact, p.fgate_preact_bias, 100);
  make_positive(p.q);
  make_positive(p.k);
  const auto X = plain::map(magnitudes(plain::random_rows(20, 6, 4)), [](double x) { return 4 + x; });
  weight identity = weight::zeros<float>(6, 6);
  for (index_t i = 0; i < 6; ++i) edit<float>(identity)[i * 7] = 1;
  const linear_attention<double> other({.d_model = 6,
                                        .heads = 2,
                                        .head_dim_k = 3,
                                        .head_dim_v = 3,
                                        .features = feature_map::identity,
                                        .epsilon = 0},
                                       linear_attention_params{p.q, p.k, p.v, identity});
  auto s = other.init();
  context ctx;
  plain::rows reads;
  for (const auto& x : X) {
    reads.emplace_back(6);
    step(other, ctx, s, x, reads.back());
  }
  const auto q = plain::product(p.q, X[0]), k = plain::product(p.k, X[0]);
  for (const index_t h : {0, 1})
    REQUIRE(plain::dot(plain::head(q, h, 3), plain::head(k, h, 3)) >= std::sqrt(3.0));
  CHECK(plain::error_of(mlstm<double>(c, p), X, finished(c, p, X, reads)) <= 1e-12);
}

TEST_CASE("mlstm refuses what does not fit") {
  CHECK(!make<mlstm<float>>({.d_model = 6, .heads = 2}).has_value());  // no head_dim_k of 1.5
  CHECK(!make<mlstm<float>>({.d_model = 7, .heads = 2, .head_dim_k = 3}).has_value());
  CHECK(!make<mlstm<float>>({.d_model = 4, .heads = 0}).has_value());
  CHECK(!make<mlstm<float>>({.d_model = 4, .heads = 2, .gate_soft_cap = -1}).has_value());
  CHECK(!make<mlstm<float>>({.d_model = 4, .heads = 2, .normaliser_epsilon = -1}).has_value());
  const mlstm_config c{.d_model = 4, .heads = 2};
  auto p = mlstm<float>(c).weights();
  p.multihead_norm = weight::zeros<float>(2);  // of one head
  CHECK_THROWS_AS(mlstm<float>(c, p), error);
}
