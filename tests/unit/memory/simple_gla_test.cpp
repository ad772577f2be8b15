// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gla.hpp>
#include <mneme/memory/simple_gla.hpp>

#include "golden_layer.hpp"
#include "outputs.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::outputs;

static_assert(Batched<simple_gla<float>> && Sampled<simple_gla<double>>);
static_assert(Memory<simple_gla<float, reference>> && row_stable<simple_gla<float>>);

namespace {

// As attention: o_t = sum_{s <= t} q_t.k_s (product of alpha_r, s < r <= t) v_s / sqrt(K), without a state.
plain::rows as_attention(const simple_gla_config& c, const simple_gla_params& p, const plain::rows& X) {
  const auto convolved = [](const plain::rows& Z, const weight& taps) {
    return taps ? plain::convolved(Z, taps) : Z;
  };
  const auto Q = convolved(plain::product(p.q_proj, X), p.q_conv1d),
             K = convolved(plain::product(p.k_proj, X), p.k_conv1d),
             V = convolved(plain::product(p.v_proj, X), p.v_conv1d);
  const auto logits = plain::product(p.gk_proj, X);
  const auto bias = plain::elements(p.gk_proj_bias);
  plain::rows O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    plain::row o(V[t].size());
    for (index_t h = 0; h < c.heads; ++h) {
      double kept = 1;
      for (std::size_t s = t + 1; s-- > 0;) {
        const double weight =
            kept * plain::dot(plain::head(Q[t], h, c.head_dim_k), plain::head(K[s], h, c.head_dim_k)) /
            std::sqrt(static_cast<double>(c.head_dim_k));
        for (index_t j = h * c.head_dim_v; j < (h + 1) * c.head_dim_v; ++j)
          plain::at(o, j) += weight * plain::at(V[s], j);
        kept *= std::pow(plain::sigmoid(plain::at(logits[s], h) + plain::at(bias, h)), 1 / c.gate_normaliser);
      }
    }
    o = plain::head_norm(o, p.g_norm, c.epsilon);
    const auto gate = plain::product(p.g_proj, X[t]);
    for (std::size_t j = 0; j < o.size(); ++j) o[j] *= plain::silu(gate[j]);
    O.push_back(o);
  }
  return plain::product(p.o_proj, O);
}

template <class M>
void simple_gla_meets_golden_values(double bound) {
  const golden file("simple_gla_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const index_t heads = mneme_test::golden_number(file, name, "heads");
    const bool conv = mneme_test::golden_number(file, name, "conv") != 0;
    const auto m = mneme_test::golden_layer<M>(file, name,
                                               {.d_model = file.shape(name, "x")[1],
                                                .heads = heads,
                                                .head_dim_k = file.shape(name, "q_proj.weight")[0] / heads,
                                                .head_dim_v = file.shape(name, "v_proj.weight")[0] / heads,
                                                .use_short_conv = conv});
    auto s = m.init();
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "s1", s.S) <= bound);
    if (conv) {
      CHECK(mneme_test::golden_state_error(file, name, "q_conv1", s.q_conv) <= bound);
      CHECK(mneme_test::golden_state_error(file, name, "v_conv1", s.v_conv) <= bound);
    }
  }
}

}  // namespace

TEST_CASE("simple_gla is attention whose heads forget") {
  using config = simple_gla_config;
  for (const config& given :
       {config{.d_model = 7, .heads = 3, .head_dim_k = 18, .head_dim_v = 37, .conv_size = 3},
        config{.d_model = 6, .heads = 2, .use_short_conv = false, .gate_normaliser = 0.5, .epsilon = 0.1}}) {
    auto p = simple_gla<double>(given, 5).weights();
    plain::randomise(p.g_norm, 1);
    const simple_gla<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_attention(c, p, X);
    for (const index_t cut : {0, 2, 8, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(simple_gla<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(simple_gla<float>(c, p), X, expected) <= 2e-5);
  }
}

TEST_CASE("simple_gla meets the golden values") {
  simple_gla_meets_golden_values<simple_gla<double>>(1e-12);
  simple_gla_meets_golden_values<simple_gla<double, reference>>(1e-12);
  simple_gla_meets_golden_values<simple_gla<float>>(2e-5);
}

TEST_CASE("gla with equal gates in a head is simple_gla", "[L20]") {
  const index_t D = 8, H = 2, K = 4;
  const simple_gla<double> m({.d_model = D, .heads = H, .use_short_conv = false}, 3);
  const auto& p = m.weights();
  weight up = weight::zeros<float>(H * K, H), bias = weight::zeros<float>(H * K);
  for (index_t i = 0; i < H * K; ++i) {
    edit<float>(up)[i * H + i / K] = 1;
    edit<float>(bias)[i] = data<float>(p.gk_proj_bias)[i / K];
  }
  const gla<double> other({.d_model = D, .heads = H, .head_dim_k = K, .gate_rank = H},
                          gla_params{.q_proj = p.q_proj,
                                     .k_proj = p.k_proj,
                                     .v_proj = p.v_proj,
                                     .g_proj = p.g_proj,
                                     .gk_proj_down = p.gk_proj,
                                     .gk_proj_up = up,
                                     .gk_proj_bias = bias,
                                     .g_norm = p.g_norm,
                                     .o_proj = p.o_proj});
  const auto X = mneme_test::random_rows<double>(30, D, 0, 4);
  CHECK(mneme_test::golden_error<double>(outputs(m, X).view(), outputs(other, X)) <= 1e-13);
}

TEST_CASE("simple_gla refuses what does not fit") {
  CHECK(!make<simple_gla<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<simple_gla<float>>({.d_model = 6, .heads = 2, .conv_size = 0}).has_value());
  CHECK(!make<simple_gla<float>>({.d_model = 6, .heads = 2, .gate_normaliser = 0}).has_value());
  const simple_gla_config c{.d_model = 4, .heads = 2};
  auto p = simple_gla<float>(c).weights();
  p.v_conv1d = weight::zeros<float>(4, 4);
  CHECK_THROWS_AS(simple_gla<float>(c, p), error);
  p.q_conv1d = p.k_conv1d = p.v_conv1d = {};
  CHECK_THROWS_AS(simple_gla<float>(c, p), error);
  CHECK(simple_gla<float>({.d_model = 4, .heads = 2, .use_short_conv = false}, p).init().q_conv.size() == 0);
}
