// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/rwkv7.hpp>

#include "golden_recurrence.hpp"
#include "plain_time_mixing.hpp"

using namespace mneme;
using mneme_test::golden_error;
using mneme_test::golden_matrix;

static_assert(Batched<rwkv7<float>> && Sampled<rwkv7<double>>);
static_assert(Memory<rwkv7<float, reference>> && row_stable<rwkv7<float>>);

namespace {

// Rows of X are [x, v_first] and rows of the result [y, v] where the residual says so.
plain::rows by_its_equations(const rwkv7_config& c, const rwkv7_params& p, const plain::rows& X) {
  const index_t D = c.d_model, N = D / c.heads;
  const auto k_a = plain::elements(p.k_a), r_k = plain::elements(p.r_k);
  const auto sigmoid_of = [](const weight& bias, const plain::row& x, const weight& down, const weight& up) {
    return plain::each(plain::sum(plain::elements(bias), plain::times(plain::times(x, down), up)),
                       plain::sigmoid);
  };
  plain::row before(static_cast<std::size_t>(D));
  plain::rows S(before.size(), plain::row(static_cast<std::size_t>(N))), Y;  // row: channel of a key
  for (const auto& in : X) {
    const auto x = plain::head(in, 0, D);
    const auto mixed = [&](const weight& mu) { return plain::blend(x, before, plain::elements(mu)); };
    const auto r = plain::product(p.receptance, mixed(p.x_r)), key = plain::product(p.key, mixed(p.x_k));
    auto v = plain::product(p.value, mixed(p.x_v));
    if (c.residual == value_residual::takes)
      v = plain::blend(v, plain::head(in, 1, D), sigmoid_of(p.v0, mixed(p.x_v), p.v1, p.v2));
    const auto low = plain::each(plain::times(mixed(p.x_w), p.w1), [](double a) { return std::tanh(a); });
    const auto w = plain::each(plain::sum(plain::elements(p.w0), plain::times(low, p.w2)),
                               [](double a) { return std::exp(-std::exp(-0.5) * plain::sigmoid(a)); });
    const auto a = sigmoid_of(p.a0, mixed(p.x_a), p.a1, p.a2);
    const auto g = plain::times(plain::each(plain::times(mixed(p.x_g), p.g1), plain::sigmoid), p.g2);
    const auto long_c = plain::multiply(key, plain::elements(p.k_k));
    plain::row k = key, o(x.size()), bonus(x.size());
    for (std::size_t i = 0; i < k.size(); ++i) k[i] *= 1 + (a[i] - 1) * k_a[i];
    for (index_t h = 0; h < c.heads; ++h) {
      const auto of_head = plain::head(long_c, h, N);
      const double length = std::sqrt(plain::dot(of_head, of_head));
      for (index_t j = h * N; j < (h + 1) * N; ++j) {
        double recalled = 0;
        for (index_t i = h * N; i < (h + 1) * N; ++i)
          recalled += plain::at(long_c, i) / length * plain::at(S[static_cast<std::size_t>(i)], j - h * N);
        for (index_t i = h * N; i < (h + 1) * N; ++i) {
          double& s = plain::at(S[static_cast<std::size_t>(i)], j - h * N);
          s = plain::at(w, i) * s - plain::at(a, i) * plain::at(long_c, i) / length * recalled +
              plain::at(k, i) * plain::at(v, j);
          plain::at(o, j) += plain::at(r, i) * s;
          plain::at(bonus, j) += plain::at(r, i) * plain::at(r_k, i) * plain::at(k, i) * plain::at(v, j);
        }
      }
    }
    o = plain::sum(plain::group_norm(o, c.heads, c.epsilon, p.ln_x_weight, p.ln_x_bias), bonus);
    Y.push_back(plain::product(p.output, plain::multiply(o, g)));
    if (c.residual == value_residual::gives) Y.back().insert(Y.back().end(), v.begin(), v.end());
    before = x;
  }
  return Y;
}

// [left, right] row by row.
template <class T>
mneme_test::matrix<T> beside(const mneme_test::matrix<T>& left, const mneme_test::matrix<T>& right) {
  mneme_test::matrix<T> both(left.rows(), left.cols() + right.cols());
  for (index_t r = 0; r < left.rows(); ++r) {
    std::copy(left.view()[r].begin(), left.view()[r].end(), both.view()[r].begin());
    std::copy(right.view()[r].begin(), right.view()[r].end(), both.view()[r].begin() + left.cols());
  }
  return both;
}

template <class T>
void rwkv7_meets_golden_layers(double bound) {
  const mneme_test::golden file("rwkv7_layer");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const bool first = name.find("first") != std::string::npos;
    auto x = golden_matrix<T>(file, name, "x");
    const rwkv7<T> m({.d_model = x.cols(),
                      .heads = std::stoi(file.flag(name, "heads")),
                      .residual = first ? value_residual::gives : value_residual::takes,
                      .decay_rank = 4,
                      .rate_rank = 3,
                      .value_rank = 2,
                      .gate_rank = 6},
                     golden_recurrence::params_of<rwkv7_params>(file, name));
    auto expected = golden_matrix<double>(file, name, "y");
    if (first)
      expected = beside(expected, golden_matrix<double>(file, name, "v_first"));
    else
      x = beside(x, golden_matrix<T>(file, name, "v_first"));
    mneme_test::matrix<T> y(x.rows(), m.d_out());
    context ctx;
    auto s = m.init();
    scan(m, ctx, s, x, y.view());
    CHECK(golden_error<T>(y, expected) <= bound);
    const auto S = golden_matrix<double>(file, name, "s1");
    CHECK(golden_error<T>(mat_view<const T>(s.S.data(), S.rows(), S.cols()), S) <= bound);
  }
}

}  // namespace

TEST_CASE("rwkv7 follows its equations") {
  using config = rwkv7_config;
  for (const config& given :
       {config{.d_model = 12, .heads = 3, .decay_rank = 2, .rate_rank = 5, .gate_rank = 3},
        config{.d_model = 6, .heads = 2, .residual = value_residual::gives, .layers = 3, .epsilon = 0.1},
        config{.d_model = 37,
               .heads = 1,
               .residual = value_residual::takes,
               .value_rank = 3,
               .layer = 1,
               .layers = 3}}) {
    auto p = plain::stirred(rwkv7<double>(given, 5).weights());
    plain::randomise(p.k_a, 3);
    plain::randomise(p.r_k, 4);
    const rwkv7<double> m(given, p);
    const auto& c = m.configuration();
    const auto X = plain::random_rows(11, m.d_in(), 6);
    const auto expected = by_its_equations(c, p, X);
    for (const index_t cut : {0, 2, 10}) CHECK(plain::error_of(m, X, expected, cut) <= 1e-12);
    CHECK(plain::error_of(rwkv7<double, reference>(c, p), X, expected) <= 1e-12);
    CHECK(plain::error_of(rwkv7<float>(c, p), X, expected) <= 1e-4);
  }
}

TEST_CASE("rwkv7's rule meets the golden values") {
  golden_recurrence::meets<rules::rwkv7, double>("dplr", 1e-12);
  golden_recurrence::meets<rules::rwkv7, float>("dplr", 5e-6);
}

TEST_CASE("rwkv7 meets the golden values of the layers, with and without values of the first") {
  rwkv7_meets_golden_layers<double>(1e-12);
  rwkv7_meets_golden_layers<float>(1e-4);
}

TEST_CASE("rwkv7 that neither fades nor blends is a delta rule", "[L20]") {  // R12
  constexpr index_t D = 8, heads = 2, N = D / heads, tokens = 9;
  const rwkv7_config c{.d_model = D, .heads = heads, .decay_rank = 1, .rate_rank = 1, .gate_rank = 1};
  auto p = rwkv7<double>(c, 3).weights();
  const auto fill = [](weight& w, float value) { std::fill_n(edit<float>(w), w.size(), value); };
  for (const auto w : {&p.x_k, &p.x_v, &p.w2, &p.a2}) fill(*w, 0);
  fill(p.k_k, 1), fill(p.k_a, 1);
  fill(p.w0, -1000);  // alpha = 1
  fill(p.a0, 0.75f);
  const rwkv7<double> m(c, p);
  context ctx;
  auto s = m.init();

  // Written is beta k v^T = beta (k / |k|) (|k| v)^T.
  const auto X = plain::random_rows(tokens, D, 4);
  mneme_test::matrix<double> k(tokens, D), v(tokens, D), S(D, N, {}, 0.0);
  const mneme_test::matrix<double> beta(tokens, heads, {}, plain::sigmoid(0.75));
  for (index_t t = 0; t < tokens; ++t) {
    const auto& x = X[static_cast<std::size_t>(t)];
    plain::row y(D);
    step(m, ctx, s, x, y);
    const auto key = plain::product(p.key, x), value = plain::product(p.value, x);
    for (index_t i = 0; i < D; ++i) {
      const auto of_head = plain::head(key, i / N, N);
      const double length = std::sqrt(plain::dot(of_head, of_head));
      k.view()[t][i] = plain::at(key, i) / length;
      v.view()[t][i] = plain::at(value, i) * length;
    }
  }
  run_heads<rules::delta_net, native>(ctx, heads, heads, S.view().data(),
                                      recurrence_rows<double>{.q = {}, .k = k, .v = v, .beta = beta},
                                      mat_view<double>(nullptr, 0, D));
  CHECK(golden_error<double>(mat_view<const double>(s.S.data(), D, N), S) <= 1e-13);
}

TEST_CASE("rwkv7 without residual computes what the first layer computes") {
  rwkv7_config c{.d_model = 6, .heads = 2, .layers = 2};
  const rwkv7<float> alone(c, 3);
  c.residual = value_residual::gives;
  const rwkv7<float> first(c, alone.weights());
  CHECK(alone.d_in() == 6);
  CHECK(alone.d_out() == 6);
  CHECK(first.d_out() == 12);
  context ctx;
  auto s = alone.init(), t = first.init();
  const std::vector<float> x{1, -1, 2, 0, 0.5f, 3};
  std::vector<float> y(6), z(12);
  step(alone, ctx, s, x, y);
  step(first, ctx, t, x, z);
  CHECK(std::equal(y.begin(), y.end(), z.begin()));
  CHECK(s == t);
}

TEST_CASE("rwkv7 takes the published ranks and starts") {
  const rwkv7<float> m({.d_model = 768, .heads = 12, .layer = 1, .layers = 12});
  const auto& c = m.configuration();
  CHECK(c.decay_rank == 64);
  CHECK(c.rate_rank == 64);
  CHECK(c.value_rank == 32);
  CHECK(c.gate_rank == 128);
  const double rising = 1.0 / 11, zigzag = (5 - 31.5) / 31.5;
  CHECK(data<float>(m.weights().w0)[64 + 5] ==
        Approx(-5.5 + 6 * std::pow(69.0 / 767, 1 + std::pow(rising, 0.3)) - 2.5 * zigzag * zigzag));
  CHECK(data<float>(m.weights().x_g)[7] == Approx(1 - std::pow(7.0 / 768, 0.2 * (1 - 1.0 / 12))));
}

TEST_CASE("rwkv7 refuses what does not fit") {
  CHECK(!make<rwkv7<float>>({.d_model = 7, .heads = 2}).has_value());
  CHECK(!make<rwkv7<float>>({.d_model = 6, .heads = 2, .gate_rank = -1}).has_value());
  CHECK(!make<rwkv7<float>>({.d_model = 6, .heads = 2, .layer = 2, .layers = 2}).has_value());
  const rwkv7_config c{.d_model = 4, .heads = 2, .residual = value_residual::takes};
  auto p = rwkv7<float>(c).weights();
  p.v0 = {};
  CHECK_THROWS_AS(rwkv7<float>(c, p), error);
}
