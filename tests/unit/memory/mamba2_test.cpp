// SPDX-License-Identifier: Apache-2.0
#include <mneme/io/safetensors.hpp>
#include <mneme/memory/mamba2.hpp>
#include <mneme/memory/simple_gla.hpp>

#include "golden_layer.hpp"
#include "plain_layer.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;

static_assert(Batched<mamba2<float>> && Sampled<mamba2<double>>);
static_assert(Memory<mamba2<float, reference>> && row_stable<mamba2<float>>);

namespace {

// As attention: y_t = sum_{s <= t} C_t.B_s (product of decays r, s < r <= t) delta_s x_s + D x_t, no state.
plain::rows as_attention(const mamba2_config& c, const mamba2_params& p, const plain::rows& X) {
  const index_t P = c.headdim, N = c.d_state, G = c.ngroups, E = c.expand * c.d_model, H = E / P;
  const auto projected = plain::product(p.in_proj, X);
  const auto taps = plain::elements(p.conv1d_weight), dt_bias = plain::elements(p.dt_bias),
             A_log = plain::elements(p.A_log), D = plain::elements(p.D), norm = plain::elements(p.norm);
  plain::rows U, delta, O;
  for (std::size_t t = 0; t < X.size(); ++t) {
    U.emplace_back();
    for (index_t i = 0; i < E + 2 * G * N; ++i) {
      double u = c.conv_bias ? plain::at(plain::elements(p.conv1d_bias), i) : 0;
      for (index_t back = 0; back < c.d_conv && back <= static_cast<index_t>(t); ++back)
        u += plain::at(taps, i * c.d_conv + c.d_conv - 1 - back) *
             plain::at(projected[t - static_cast<std::size_t>(back)], E + i);
      U.back().push_back(plain::silu(u));
    }
    delta.emplace_back();
    for (index_t h = 0; h < H; ++h)
      delta.back().push_back(
          std::clamp(plain::softplus(plain::at(projected[t], 2 * E + 2 * G * N + h) + plain::at(dt_bias, h)),
                     c.dt_limit_low, c.dt_limit_high));
    plain::row y(static_cast<std::size_t>(E));
    for (index_t h = 0; h < H; ++h) {
      const index_t group = h / (H / G);
      double kept = 1;
      for (std::size_t s = t + 1; s-- > 0;) {
        double weight = 0;
        for (index_t n = 0; n < N; ++n)
          weight += plain::at(U[t], E + (G + group) * N + n) * plain::at(U[s], E + group * N + n);
        weight *= kept * plain::at(delta[s], h);
        for (index_t e = h * P; e < (h + 1) * P; ++e) plain::at(y, e) += weight * plain::at(U[s], e);
        kept *= std::exp(-plain::at(delta[s], h) * std::exp(plain::at(A_log, h)));
      }
    }
    for (index_t e = 0; e < E; ++e) {
      plain::at(y, e) += plain::at(D, c.D_has_hdim ? e : e / P) * plain::at(U[t], e);
      plain::at(y, e) *= plain::silu(plain::at(projected[t], e));
    }
    for (index_t g = 0; g < G; ++g) {
      const auto of_group = plain::head(y, g, E / G);
      const double scale =
          1 / std::sqrt(plain::dot(of_group, of_group) / static_cast<double>(E / G) + c.epsilon);
      for (index_t e = g * (E / G); e < (g + 1) * (E / G); ++e) plain::at(y, e) *= scale * plain::at(norm, e);
    }
    O.push_back(y);
  }
  return plain::product(p.out_proj, O);
}

template <class M>
void mamba2_meets_golden_values(double bound) {
  const golden file("mamba2_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto size = [&](const char* flag) { return mneme_test::golden_number(file, name, flag); };
    const auto m = mneme_test::golden_layer<M>(file, name,
                                               {.d_model = size("d_model"),
                                                .d_state = size("d_state"),
                                                .d_conv = size("d_conv"),
                                                .headdim = size("headdim"),
                                                .ngroups = size("ngroups")});
    auto s = m.init();
    CHECK(mneme_test::golden_output_error(file, name, m, s) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "conv1", s.conv_state) <= bound);
    CHECK(mneme_test::golden_state_error(file, name, "ssm1", s.S) <= bound);
  }
}

}  // namespace

TEST_CASE("mamba2 is attention with decays, a skip and a gated norm") {
  using config = mamba2_config;
  for (const config& c :
       {config{.d_model = 9, .d_state = 18, .headdim = 3, .ngroups = 3},
        config{.d_model = 20, .d_state = 5, .d_conv = 3, .expand = 1, .headdim = 20, .D_has_hdim = true},
        config{.d_model = 6,
               .d_state = 2,
               .d_conv = 1,
               .headdim = 4,
               .conv_bias = false,
               .dt_limit_low = 0.02,
               .dt_limit_high = 0.05,
               .epsilon = 0.1}}) {
    auto p = mamba2<double>(c, 5).weights();
    plain::randomise(p.norm, 1);
    plain::randomise(p.D, 2);
    const mamba2<double> m(c, p);
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = as_attention(c, p, X);
    CHECK(plain::error_of(m, X, expected) <= 1e-12);
    CHECK(plain::error_of(m, X, expected, 8) <= 1e-12);
    CHECK(plain::error_of(mamba2<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(mamba2<float>(c, p), X, expected) <= 2e-5);
  }
}

TEST_CASE("mamba2 meets the golden values") {
  mamba2_meets_golden_values<mamba2<double>>(1e-12);
  mamba2_meets_golden_values<mamba2<double, reference>>(1e-12);
  mamba2_meets_golden_values<mamba2<float>>(2e-5);
}

TEST_CASE("mamba2 with steps of 1 and no skip has the states of simple_gla", "[L20]") {
  const index_t D = 6, N = 4, H = 3, P = 4, E = H * P;
  mamba2_config c{.d_model = D, .d_state = N, .d_conv = 1, .headdim = P, .ngroups = H, .conv_bias = false};
  c.dt_limit_low = c.dt_limit_high = 1;
  auto p = mamba2<double>(c, 3).weights();
  p.D = weight::zeros<float>(H);
  weight bias = weight::zeros<double>(H);
  for (index_t h = 0; h < H; ++h) {  // 1 / (1 + e^-bias) = e^-A
    edit<float>(p.A_log)[h] = static_cast<float>(h) - 3;
    edit<double>(bias)[h] = -std::log(std::expm1(std::exp(static_cast<double>(h) - 3)));
  }
  const mamba2<double> m(c, p);
  const auto taps = [&](index_t from, index_t count) {
    weight w = weight::zeros<float>(count, 1, 1);
    std::copy_n(data<float>(p.conv1d_weight) + from, count, edit<float>(w));
    return w;
  };
  const simple_gla_config other_config{
      .d_model = D, .heads = H, .head_dim_k = N, .head_dim_v = P, .conv_size = 1, .gate_normaliser = 1};
  auto q = simple_gla<double>(other_config).weights();
  q.v_proj = rows_of(p.in_proj, E, E), q.v_conv1d = taps(0, E);
  q.k_proj = rows_of(p.in_proj, 2 * E, H * N), q.k_conv1d = taps(E, H * N);
  q.q_proj = rows_of(p.in_proj, 2 * E + H * N, H * N), q.q_conv1d = taps(E + H * N, H * N);
  q.gk_proj = weight::zeros<float>(H, D), q.gk_proj_bias = bias;
  const simple_gla<double> other(other_config, q);
  const auto X = mneme_test::random_rows<double>(30, D, 0, 4);
  context ctx;
  auto s = m.init();
  auto s_other = other.init();
  observe(m, ctx, s, X);
  observe(other, ctx, s_other, X);
  double scale = 0, apart = 0;
  for (index_t i = 0; i < s.S.size(); ++i) {
    scale = std::max(scale, std::abs(s_other.S[i]));
    apart = std::max(apart, std::abs(s.S[i] - s_other.S[i]));
  }
  CHECK((scale > 0 && apart <= 1e-12 * scale));
}

TEST_CASE("mamba2 loads a checkpoint by its public names") {
  const auto file = safetensors_file::open(MNEME_GOLDEN_DIR "/mamba2_checkpoint.safetensors").value();
  const mamba2_config c{.d_model = 8, .d_state = 5, .headdim = 4, .ngroups = 2};
  auto p = mamba2<float>::tensors(c).seeded(0);  // its shapes
  REQUIRE(load_weights(file, p, "backbone.layers.1.mixer"));
  const golden values("mamba2_checkpoint");
  const mamba2<double> m(c, p);
  auto s = m.init();
  CHECK(mneme_test::golden_output_error(values, "mixer", m, s) <= 1e-12);
  const mamba2_config wider{.d_model = 8, .d_state = 6, .headdim = 4, .ngroups = 2};
  auto misfit = mamba2<float>::tensors(wider).seeded(0);
  const status refused = load_weights(file, misfit, "backbone.layers.1.mixer");
  REQUIRE(!refused);
  CHECK(refused.error().message().find("in_proj.weight") != std::string::npos);
}

TEST_CASE("mamba2: lanes that want other outputs than their last are packed rightly") {
  const mamba2<float> m({.d_model = 5, .d_state = 3, .headdim = 5}, 5);
  using state = mamba2<float>::state;
  const index_t rows[] = {3, 0, 1, 6}, outs[] = {1, 0, 1, 4};
  const auto X = mneme_test::random_rows<float>(10, 5, 0, 6);
  matrix<float> expected(6, 5), got(6, 5);
  context ctx;
  std::vector<state> alone(4, m.init()), packed(4, m.init());
  std::vector<lane<state>> lanes;
  index_t x = 0, y = 0;
  for (std::size_t i = 0; i < 4; x += rows[i], y += outs[i], ++i) {
    scan(m, ctx, alone[i], X.view().range(x, x + rows[i]), expected.view().range(y, y + outs[i]));
    lanes.push_back({&packed[i], rows[i], outs[i]});
  }
  scan_many<mamba2<float>>(m, ctx, lanes, X, got.view());
  CHECK(got == expected);
  CHECK(packed == alone);
}

TEST_CASE("mamba2 starts as the paper's code does, and refuses what does not fit") {
  const mamba2<float> m({.d_model = 64, .d_state = 3}, 13);
  for (index_t h = 0; h < 2; ++h) {
    const double A = std::exp(static_cast<double>(data<float>(m.weights().A_log)[h]));
    const double dt = std::log1p(std::exp(static_cast<double>(data<float>(m.weights().dt_bias)[h])));
    CHECK((A >= 1 && A <= 16 && dt > 0.999e-3 && dt < 1.001e-1));
  }
  CHECK(footprint(m.init()).owned == sizeof(float) * (128 * 3 + 3 * (128 + 2 * 3)));
  CHECK(!make<mamba2<float>>({.d_model = 5}).has_value());
  CHECK(!make<mamba2<float>>({.d_model = 64, .ngroups = 3}).has_value());
  CHECK(!make<mamba2<float>>({.d_model = 64, .dt_limit_low = 2, .dt_limit_high = 1}).has_value());
  const mamba2_config c{.d_model = 4, .d_state = 2, .headdim = 4, .D_has_hdim = true};
  auto p = mamba2<float>(c).weights();
  CHECK(p.D.size() == 8);
  p.conv1d_bias = {};
  CHECK_THROWS_AS(mamba2<float>(c, p), error);
}
