// SPDX-License-Identifier: Apache-2.0
// Which rule becomes which, and what rules keep, whatever kernel computes them.
#include "recurrence_case.hpp"

using namespace recurrence_test;

namespace {

constexpr double tight = 1e-13;
constexpr index_t tokens = 9, K = 6, V = 21;

struct answer {
  matrix<double> o, S;
};
template <rule R, class Backend = native>
answer run(const operands<double>& p) {
  answer a{{}, p.S};
  a.o = p.run<R, Backend>(a.S);
  return a;
}
void same(const answer& x, const answer& y) {
  CHECK(relative_error(x.o, y.o) <= tight);
  CHECK(relative_error(x.S, y.S) <= tight);
}

matrix<double> constant(index_t rows, index_t cols, double value) {
  return matrix<double>(rows, cols, {}, value);
}
// Every row filled with its own number.
matrix<double> spread(const matrix<double>& column, index_t cols) {
  matrix<double> m(column.rows(), cols);
  for (index_t t = 0; t < m.rows(); ++t)
    std::fill(m.view()[t].begin(), m.view()[t].end(), column.view()[t][0]);
  return m;
}
// Rows of x, each times the number of its row.
matrix<double> times(const matrix<double>& x, const matrix<double>& column) {
  matrix<double> m = x;
  for (index_t t = 0; t < m.rows(); ++t) scale_row(m.view()[t], column.view()[t][0]);
  return m;
}
matrix<double> product(const matrix<double>& x, const matrix<double>& y) {
  matrix<double> m = x;
  for (index_t t = 0; t < m.rows(); ++t)
    for (index_t i = 0; i < m.cols(); ++i) m.view()[t][i] *= y.view()[t][i];
  return m;
}
// A delta rule that erases after the decay `keys`, written as dplr: a = alpha o k, b = -beta k, v -> beta v.
operands<double> as_dplr(operands<double> p, const matrix<double>& keys) {
  p.a = product(keys, p.k);
  p.b = times(times(p.k, p.beta), constant(p.tokens(), 1, -1));
  p.v = times(p.v, p.beta);
  return p;
}
// `count` <= K orthonormal keys, by Gram and Schmidt.
operands<double> orthonormal(index_t count) {
  auto p = random_operands<double>(count, K, V, 91);
  for (index_t t = 0; t < count; ++t) {
    const auto k = p.k.view()[t];
    for (int twice = 0; twice < 2; ++twice)
      for (index_t s = 0; s < t; ++s) {
        double along = 0;
        for (index_t i = 0; i < K; ++i) along += k[i] * p.k.view()[s][i];
        for (index_t i = 0; i < K; ++i) k[i] -= along * p.k.view()[s][i];
      }
    to_unit_length(k);
  }
  p.S = constant(K, V, 0);
  p.beta = constant(count, 1, 1);
  return p;
}
double norm(const matrix<double>& m) {
  double squares = 0;
  for (index_t r = 0; r < m.rows(); ++r)
    for (const double x : m.view()[r]) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("recurrence: equal decays are one decay") {  // R1, R2, R9
  auto p = random_operands<double>(tokens, K, V);
  p.keys = spread(p.scalars, K), p.values = spread(p.scalars, V);
  same(run<rules::gla>(p), run<rules::retnet>(p));
  same(run<rule{.forget = decay::value}>(p), run<rules::retnet>(p));
  same(run<rules::kda>(p), run<rules::gated_delta_net>(p));
  same(run<rules::rwkv7>(p), run<rules::comba>(p));
  p.scalars = constant(tokens, 1, 1), p.keys = constant(tokens, K, 1);
  same(run<rules::retnet>(p), run<rules::linear_attention>(p));
  same(run<rules::gla>(p), run<rules::linear_attention>(p));
  same(run<rules::gated_delta_net>(p), run<rules::delta_net>(p));
  same(run<rules::rwkv7>(p), run<rule{.write = update::dplr}>(p));
}

TEST_CASE("recurrence: dplr spans the other writes") {  // R8, R9, R12
  const auto p = random_operands<double>(tokens, K, V);
  same(run<rules::rwkv7>(as_dplr(p, p.keys)), run<rules::kda>(p));
  same(run<rules::comba>(as_dplr(p, spread(p.scalars, K))), run<rules::gated_delta_net>(p));
  same(run<rule{.write = update::dplr}>(as_dplr(p, constant(tokens, K, 1))), run<rules::delta_net>(p));
  auto additive = p;
  additive.b = constant(tokens, K, 0);
  same(run<rules::rwkv7>(additive), run<rules::gla>(p));
}

TEST_CASE("recurrence: a delta rule that writes nothing only fades") {  // R8
  auto p = random_operands<double>(tokens, K, V), faded = p;
  p.beta = constant(tokens, 1, 0);
  faded.v = constant(tokens, V, 0);
  same(run<rules::kda>(p), run<rules::gla>(faded));
}

TEST_CASE("recurrence: a delta rule over orthonormal keys adds") {  // R10
  auto p = orthonormal(K);
  p.beta = random_operands<double>(K, K, V, 92).beta;
  auto added = p;
  added.v = times(p.v, p.beta);
  same(run<rules::delta_net>(p), run<rules::linear_attention>(added));
}

TEST_CASE("recurrence: reading before the write reads the state of the token before") {  // R3
  const auto p = random_operands<double>(tokens, K, V);
  const auto before = run<rules::rwkv6>(p);
  matrix<double> S = p.S;
  for (index_t t = 0; t < tokens; ++t) {
    CAPTURE(t);
    for (index_t j = 0; j < V; ++j) {
      double read = 0;
      for (index_t i = 0; i < K; ++i) read += S.view()[i][j] * p.q.view()[t][i];
      CHECK(std::abs(before.o.view()[t][j] - read) <= tight * 10);
    }
    p.run<rules::gla, native>(S, t, t + 1, 1);
  }
  CHECK(S == before.S);
}

TEST_CASE("recurrence: a decay of exactly zero starts anew") {  // R24
  auto p = random_operands<double>(tokens, K, V);
  const index_t at = 4;
  p.scalars.view()[at][0] = 0;
  for (auto* m : {&p.keys, &p.values, &p.a}) std::fill(m->view()[at].begin(), m->view()[at].end(), 0.0);
  for_each_rule([&]<rule R>() {
    if constexpr (R.forget != decay::none && R.read == reads::after) {
      matrix<double> whole = p.S, fresh = constant(K, V, 0);
      const auto o = p.run<R, reference>(whole, 0, tokens, tokens - at);
      CHECK(relative_error(o, p.run<R, reference>(fresh, at, tokens, tokens - at)) <= tight);
      CHECK(relative_error(whole, fresh) <= tight);
    }
  });
}

TEST_CASE("recurrence stays finite under the strongest decay") {  // P8: log decay -80 in every step
  auto p = random_operands<float>(200, K, V);
  const auto fill = [](matrix<float>& m) {
    for (index_t t = 0; t < m.rows(); ++t)
      std::fill(m.view()[t].begin(), m.view()[t].end(), std::exp(-80.0f));
  };
  fill(p.scalars), fill(p.keys), fill(p.values);
  const auto is_finite = [&]<rule R>() {
    matrix<float> S = p.S;
    const auto o = p.run<R, native>(S);
    bool finite = true;
    for (const matrix<float>* m : {&o, &std::as_const(S)})
      for (index_t r = 0; r < m->rows(); ++r)
        for (const float x : m->view()[r]) finite = finite && std::isfinite(x);
    CHECK(finite);
  };
  is_finite.operator()<rules::gla>();
  is_finite.operator()<rules::gated_delta_net>();
  is_finite.operator()<rules::rwkv7>();
  is_finite.operator()<rule{.forget = decay::value}>();
}

TEST_CASE("recurrence is linear in the values, column by column") {  // P6
  auto p = random_operands<double>(tokens, K, V);
  p.S = constant(K, V, 0);
  auto other = p, sum = p;
  other.v = random_operands<double>(tokens, K, V, 77).v;
  for (index_t t = 0; t < tokens; ++t)
    for (index_t j = 0; j < V; ++j) sum.v.view()[t][j] += other.v.view()[t][j];
  for_each_rule([&]<rule R>() {
    const auto a = run<R, reference>(p), b = run<R, reference>(other), both = run<R, reference>(sum);
    matrix<double> added = a.o;
    for (index_t t = 0; t < tokens; ++t)
      for (index_t j = 0; j < V; ++j) added.view()[t][j] += b.o.view()[t][j];
    CHECK(relative_error(both.o, added) <= tight);

    auto narrow = p;  // the columns [3, 8) alone
    const auto cut = [](const matrix<double>& m) {
      return matrix<double>(m.view().columns(3, 5), placement{});
    };
    narrow.v = cut(p.v), narrow.S = cut(p.S), narrow.values = cut(p.values);
    CHECK(relative_error(run<R, reference>(narrow).o, cut(a.o)) <= tight);
  });
}

TEST_CASE("delta rule: orthonormal keys are recalled exactly") {  // D1
  auto p = orthonormal(K);
  const auto S = run<rules::delta_net>(p).S;
  auto recall = p;
  recall.q = p.k, recall.S = S, recall.beta = constant(K, 1, 0);
  CHECK(relative_error(run<rules::delta_net>(recall).o, p.v) <= tight);
}

TEST_CASE("delta rule: the newest pair is recalled exactly, whatever the decay") {  // D2
  auto p = random_operands<double>(tokens, K, V);
  p.beta = constant(tokens, 1, 1);
  p.q = p.k;
  CHECK(relative_error(run<rules::delta_net>(p).o, p.v) <= tight);
  CHECK(relative_error(run<rules::gated_delta_net>(p).o, p.v) <= tight);
  CHECK(relative_error(run<rules::kda>(p).o, p.v) <= tight);
}

TEST_CASE("delta rule: writing what is already there changes nothing") {  // D3
  auto p = random_operands<double>(tokens, K, V);
  p.beta = constant(tokens, 1, 1);
  auto again = p;
  again.S = run<rules::delta_net>(p).S;
  again.q = p.k;
  again.beta = constant(tokens, 1, 0);
  again.v = run<rules::delta_net>(again).o;
  again.beta = p.beta;
  CHECK(relative_error(run<rules::delta_net>(again).S, again.S) <= tight);
}

TEST_CASE("delta rule: beta = 2 reflects") {  // D4
  auto p = random_operands<double>(2, K, V);
  p.beta = constant(2, 1, 2);
  p.v = constant(2, V, 0);
  std::copy(p.k.view()[0].begin(), p.k.view()[0].end(), p.k.view()[1].begin());
  matrix<double> S = p.S;
  p.run<rules::delta_net, native>(S, 0, 1, 1);
  CHECK(std::abs(norm(S) - norm(p.S)) <= tight * norm(p.S));
  CHECK(relative_error(S, p.S) > 0.1);
  p.run<rules::delta_net, native>(S, 1, 2, 1);
  CHECK(relative_error(S, p.S) <= tight);
}

TEST_CASE("run_heads: heads that share keys equal heads with copies of them") {  // R25
  constexpr index_t heads = 6, key_heads = 2;
  const auto shared = random_operands<double>(tokens, key_heads * K, heads * V, 61);
  const auto copies = [](const matrix<double>& m) {
    matrix<double> wide(m.rows(), heads * K);
    for (index_t h = 0; h < heads; ++h)
      for (index_t t = 0; t < m.rows(); ++t)
        std::copy_n(m.view()[t].data() + h * key_heads / heads * K, K, wide.view()[t].data() + h * K);
    return wide;
  };
  const auto q = copies(shared.q), k = copies(shared.k);
  const auto alpha = random_operands<double>(tokens, heads, 1, 62).keys;
  const auto beta = random_operands<double>(tokens, heads, 1, 63).keys;
  const matrix<double> start = random_operands<double>(1, heads * K, V, 64).S;
  const auto run_with = [&](const matrix<double>& queries, const matrix<double>& keys, index_t shared_heads) {
    answer a{matrix<double>(tokens, heads * V), start};
    context ctx;
    run_heads<rules::gated_delta_net, native>(
        ctx, heads, shared_heads, a.S.view().data(),
        recurrence_rows<double>{.q = queries, .k = keys, .v = shared.v, .alpha = alpha, .beta = beta},
        a.o.view());
    return a;
  };
  const auto grouped = run_with(shared.q, shared.k, key_heads), repeated = run_with(q, k, heads);
  CHECK(grouped.o == repeated.o);
  CHECK(grouped.S == repeated.S);
  for (index_t h = 0; h < heads; ++h) {  // and every head is the kernel on its columns
    const auto of_head = [h](const matrix<double>& m, index_t width) {
      return matrix<double>(m.view().columns(h * width, width), placement{});
    };
    operands<double> p;
    p.q = of_head(q, K), p.k = of_head(k, K), p.v = of_head(shared.v, V);
    p.scalars = of_head(alpha, 1), p.beta = of_head(beta, 1);
    p.S = matrix<double>(start.view().range(h * K, (h + 1) * K), placement{});
    same(run<rules::gated_delta_net>(p),
         {of_head(grouped.o, V), matrix<double>(grouped.S.view().range(h * K, (h + 1) * K), placement{})});
  }
}
