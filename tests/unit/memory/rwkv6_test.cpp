// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/gla.hpp>
#include <mneme/memory/rwkv6.hpp>

#include "golden_recurrence.hpp"
#include "plain_time_mixing.hpp"

using namespace mneme;
using mneme_test::golden_error;
using mneme_test::golden_matrix;

static_assert(Batched<rwkv6<float>> && Sampled<rwkv6<double>>);
static_assert(Memory<rwkv6<float, reference>> && row_stable<rwkv6<float>>);

namespace {

plain::rows by_its_equations(const rwkv6_config& c, const rwkv6_params& p, const plain::rows& X) {
  const index_t N = c.d_model / c.heads;
  const auto u = plain::elements(p.time_faaaa);
  plain::row before(X[0].size());
  plain::rows S(X[0].size(), plain::row(static_cast<std::size_t>(N))), Y;  // row: channel of a key
  for (const auto& x : X) {
    const auto m =
        plain::each(plain::times(plain::blend(x, before, plain::elements(p.time_maa_x)), p.time_maa_w1),
                    [](double v) { return std::tanh(v); });
    const auto mixed = [&](index_t part, const weight& mu) {
      const auto own = plain::times(plain::head(m, part, c.mix_rank), p.time_maa_w2, part * c.mix_rank);
      return plain::blend(x, before, plain::sum(plain::elements(mu), own));
    };
    const auto low = plain::each(plain::times(mixed(0, p.time_maa_w), p.time_decay_w1),
                                 [](double v) { return std::tanh(v); });
    const auto w = plain::each(plain::sum(plain::elements(p.time_decay), plain::times(low, p.time_decay_w2)),
                               [](double v) { return std::exp(-std::exp(v)); });
    const auto k = plain::product(p.key, mixed(1, p.time_maa_k)),
               v = plain::product(p.value, mixed(2, p.time_maa_v)),
               r = plain::product(p.receptance, mixed(3, p.time_maa_r)),
               g = plain::product(p.gate, mixed(4, p.time_maa_g));
    plain::row o(x.size());
    for (index_t i = 0; i < c.d_model; ++i)
      for (index_t j = 0; j < N; ++j) {
        const index_t out = i / N * N + j;
        double& s = plain::at(S[static_cast<std::size_t>(i)], j);
        const double kv = plain::at(k, i) * plain::at(v, out);
        plain::at(o, out) += plain::at(r, i) * (s + plain::at(u, i) * kv);
        s = plain::at(w, i) * s + kv;
      }
    o = plain::group_norm(o, c.heads, c.epsilon, p.ln_x_weight, p.ln_x_bias);
    Y.push_back(plain::product(p.output, plain::multiply(o, plain::each(g, plain::silu))));
    before = x;
  }
  return Y;
}

template <class T>
void rwkv6_meets_golden_layers(double bound) {
  const mneme_test::golden file("rwkv6_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto x = golden_matrix<T>(file, name, "x");
    const rwkv6<T> m({.d_model = x.cols(), .heads = std::stoi(file.flag(name, "heads"))},
                     golden_recurrence::params_of<rwkv6_params>(file, name));
    mneme_test::matrix<T> y(x.rows(), x.cols());
    context ctx;
    auto s = m.init();
    scan(m, ctx, s, x, y.view());
    CHECK(golden_error<T>(y, golden_matrix<double>(file, name, "y")) <= bound);
    const auto S = golden_matrix<double>(file, name, "s1");
    CHECK(golden_error<T>(mat_view<const T>(s.S.data(), S.rows(), S.cols()), S) <= bound);
  }
}

}  // namespace

TEST_CASE("rwkv6 follows its equations") {
  for (const rwkv6_config c :
       {rwkv6_config{.d_model = 12, .heads = 3, .mix_rank = 5, .decay_rank = 7, .layer = 2, .layers = 5},
        rwkv6_config{.d_model = 37, .heads = 1, .mix_rank = 1, .decay_rank = 2, .epsilon = 0.1}}) {
    const auto p = plain::stirred(rwkv6<double>(c, 5).weights());
    const auto X = plain::random_rows(11, c.d_model, 6);
    const auto expected = by_its_equations(c, p, X);
    for (const index_t cut : {0, 2, 10})
      CHECK(plain::error_of(rwkv6<double>(c, p), X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(rwkv6<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(rwkv6<float>(c, p), X, expected) <= 2e-5);
  }
}

TEST_CASE("rwkv6 meets the golden values of its rule") {
  const auto with_bonus = [](const auto& file, const auto& name, const auto& in, auto O) {
    using T = typename decltype(O)::value_type;
    detail::add_bonus<simd::native>(file.shape(name, "u")[0],
                                    decoded<T>(mneme_test::golden_weight(file, name, "u")), in.q, in.k, in.v,
                                    O);
  };
  golden_recurrence::meets<rules::rwkv6, double>("rwkv6", 1e-12, with_bonus);
  golden_recurrence::meets<rules::rwkv6, float>("rwkv6", 5e-6, with_bonus);
}

TEST_CASE("rwkv6 meets the golden values of the layer") {
  rwkv6_meets_golden_layers<double>(1e-12);
  rwkv6_meets_golden_layers<float>(5e-5);
}

TEST_CASE("rwkv6 with a constant decay keeps the state of gla", "[L20]") {  // R3
  constexpr index_t D = 6;
  const rwkv6_config c{.d_model = D, .heads = 2, .mix_rank = 2, .decay_rank = 2};
  auto p = rwkv6<double>(c, 3).weights();
  const auto zero = [](weight& w) { std::fill_n(edit<float>(w), w.size(), 0.0f); };
  for (const auto w : {&p.time_maa_w, &p.time_maa_k, &p.time_maa_v, &p.time_maa_w1, &p.time_decay_w1})
    zero(*w);
  p.time_decay = weight::zeros<double>(1, 1, D);
  const gla_config gc{.d_model = D, .heads = 2, .head_dim_k = 3, .gate_normaliser = 1};
  auto q = gla<double>(gc, 4).weights();
  q.k_proj = p.key, q.v_proj = p.value;
  zero(q.gk_proj_up);
  for (index_t i = 0; i < D; ++i) {
    const double bias = edit<float>(q.gk_proj_bias)[i];
    edit<double>(p.time_decay)[i] = std::log(-std::log(plain::sigmoid(bias)));
  }
  const rwkv6<double> m(c, p);
  const gla<double> other(gc, q);
  context ctx;
  auto s = m.init();
  auto t = other.init();
  plain::row y(D);
  for (const auto& x : plain::random_rows(9, D, 5)) {
    step(m, ctx, s, x, y);
    step(other, ctx, t, x, y);
  }
  for (index_t i = 0; i < s.S.size(); ++i) CHECK(std::abs(s.S[i] - t.S[i]) <= 1e-13);
}

TEST_CASE("rwkv6 without decay and with a bonus of one is linear attention", "[L20]") {  // R3
  constexpr index_t tokens = 7, heads = 2, N = 5, D = heads * N;
  const auto r = mneme_test::random_rows<double>(tokens, D, 0, 1),
             k = mneme_test::random_rows<double>(tokens, D, 0, 2),
             v = mneme_test::random_rows<double>(tokens, D, 0, 3);
  const mneme_test::matrix<double> ones(tokens, D, {}, 1.0);
  mneme_test::matrix<double> before(tokens, D), after(tokens, D), S(D, N, {}, 0.0), Z(D, N, {}, 0.0);
  context ctx;
  run_heads<rules::rwkv6, native>(ctx, heads, heads, S.view().data(), recurrence_rows<double>{r, k, v, ones},
                                  before.view());
  detail::add_bonus<simd::native>(heads, decoded<double>(constant_weight({heads, N}, 1)), r.view(), k.view(),
                                  v.view(), before.view());
  run_heads<rules::linear_attention, native>(ctx, heads, heads, Z.view().data(),
                                             recurrence_rows<double>{r, k, v}, after.view());
  CHECK(golden_error<double>(before, after) <= 1e-13);
  CHECK(golden_error<double>(S, Z) <= 1e-13);
}

TEST_CASE("rwkv6 starts as published") {
  const rwkv6<float> m({.d_model = 8, .heads = 2, .layer = 1, .layers = 3});
  const float *mu = data<float>(m.weights().time_maa_v), *decay = data<float>(m.weights().time_decay);
  CHECK(mu[0] == Approx(1 - 0.15));
  CHECK(mu[3] == Approx(1 - std::pow(3.0 / 8, 2.0 / 3) - 0.15));
  CHECK(decay[0] == -6);
  CHECK(decay[2] == Approx(-6 + 5 * std::pow(2.0 / 7, 1.35)));
  CHECK(data<float>(m.weights().time_faaaa)[4] == Approx(0.5 * (1 - 4.0 / 7) + 0.1));
}

TEST_CASE("rwkv6 refuses what does not fit") {
  CHECK(!make<rwkv6<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<rwkv6<float>>({.d_model = 6, .heads = 2, .mix_rank = 0}).has_value());
  CHECK(!make<rwkv6<float>>({.d_model = 6, .heads = 2, .layer = 1}).has_value());
  const rwkv6_config c{.d_model = 4, .heads = 2};
  auto p = rwkv6<float>(c).weights();
  p.time_maa_w2 = weight::zeros<float>(5, 4, 32);
  CHECK_THROWS_AS(rwkv6<float>(c, p), error);
}
