// SPDX-License-Identifier: Apache-2.0
// Which rule becomes which, and what rules keep. Asked of the references, in double: kernels agree with
// those (L16).
#include "catch.hpp"
#include "recurrence_laws.hpp"

using namespace recurrence_test;

namespace {

constexpr double tight = 1e-13;
constexpr index_t tokens = 9, K = 6, V = 21;

const family& references() {
  static const family all = [] {
    family f;
    for_each_rule([&]<rule R>() { f.push_back({R, reference_of<recurrence<R>, double>}); });
    return f;
  }();
  return all;
}
op_result<double> run(rule r, const operands<double>& p) {
  return p.run(r, find(references(), r)->reference);
}

double norm(const matrix<double>& m) {
  double squares = 0;
  for (index_t r = 0; r < m.rows(); ++r)
    for (const double x : m.view()[r]) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

TEST_CASE("recurrence: gates turn rules into others", "[L20][recurrence]") {
  CHECK(references().size() == 24);
  for (const identity& i : identities) {
    CAPTURE(i.name);
    CHECK(i.fault(references()) == "");
  }
}

TEST_CASE("rules that have several names", "[L20]") {  // R1, R2, R4
  const auto equal = [](rule r, rule s) { return name_of(r) == name_of(s); };
  for (const rule r : {rules::simple_gla, rules::mamba2, rules::mlstm}) CHECK(equal(r, rules::retnet));
  CHECK(equal(rules::hgrn2, rules::gla));
}

TEST_CASE("recurrence is linear in the values, column by column") {  // P6
  auto p = random_operands<double>(tokens, K, V);
  p.S = constant(K, V, 0);
  auto other = p, sum = p;
  other.v = random_operands<double>(tokens, K, V, 77).v;
  for (index_t t = 0; t < tokens; ++t)
    for (index_t j = 0; j < V; ++j) sum.v.view()[t][j] += other.v.view()[t][j];
  auto narrow = p;  // the columns [3, 8) alone
  const auto cut = [](const matrix<double>& m) {
    return matrix<double>(m.view().columns(3, 5), placement{});
  };
  narrow.v = cut(p.v), narrow.S = cut(p.S), narrow.values = cut(p.values);
  for (const member& m : references()) {
    CAPTURE(name_of(m.is));
    const auto a = run(m.is, p), b = run(m.is, other), both = run(m.is, sum);
    matrix<double> added = a.outputs;
    for (index_t t = 0; t < tokens; ++t)
      for (index_t j = 0; j < V; ++j) added.view()[t][j] += b.outputs.view()[t][j];
    CHECK(relative_error(both.outputs, added) <= tight);
    CHECK(relative_error(run(m.is, narrow).outputs, cut(a.outputs)) <= tight);
  }
}

TEST_CASE("delta rule: orthonormal keys are recalled exactly") {  // D1
  const auto p = orthonormal(K, K, V);
  auto recall = p;
  recall.q = p.k, recall.S = run(rules::delta_net, p).state[0], recall.beta = constant(K, 1, 0);
  CHECK(relative_error(run(rules::delta_net, recall).outputs, p.v) <= tight);
}

TEST_CASE("delta rule: the newest pair is recalled exactly, whatever the decay") {  // D2
  auto p = random_operands<double>(tokens, K, V);
  p.beta = constant(tokens, 1, 1);
  p.q = p.k;
  for (const rule r : {rules::delta_net, rules::gated_delta_net, rules::kda})
    CHECK(relative_error(run(r, p).outputs, p.v) <= tight);
}

TEST_CASE("delta rule: writing what is already there changes nothing") {  // D3
  auto p = random_operands<double>(tokens, K, V);
  p.beta = constant(tokens, 1, 1);
  auto again = p;
  again.S = run(rules::delta_net, p).state[0];
  again.q = p.k;
  again.beta = constant(tokens, 1, 0);
  again.v = run(rules::delta_net, again).outputs;
  again.beta = p.beta;
  CHECK(relative_error(run(rules::delta_net, again).state[0], again.S) <= tight);
}

TEST_CASE("delta rule: beta = 2 reflects") {  // D4
  auto p = random_operands<double>(2, K, V);
  p.beta = constant(2, 1, 2);
  p.v = constant(2, V, 0);
  std::copy(p.k.view()[0].begin(), p.k.view()[0].end(), p.k.view()[1].begin());
  tensors<double> S{p.S};
  const auto reflect = p.with(rules::delta_net, find(references(), rules::delta_net)->reference);
  reflect(S, 0, 1, 1);
  CHECK(std::abs(norm(S[0]) - norm(p.S)) <= tight * norm(p.S));
  CHECK(relative_error(S[0], p.S) > 0.1);
  reflect(S, 1, 2, 1);
  CHECK(relative_error(S[0], p.S) <= tight);
}

TEST_CASE("run_heads: heads that share keys equal heads with copies of them", "[L20]") {  // R25
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
    op_result<double> a{matrix<double>(tokens, heads * V), {start}};
    context ctx;
    run_heads<rules::gated_delta_net, native>(
        ctx, heads, shared_heads, a.state[0].view().data(),
        recurrence_rows<double>{.q = queries, .k = keys, .v = shared.v, .alpha = alpha, .beta = beta},
        a.outputs.view());
    return a;
  };
  const auto grouped = run_with(shared.q, shared.k, key_heads), repeated = run_with(q, k, heads);
  CHECK(grouped.outputs == repeated.outputs);
  CHECK(grouped.state[0] == repeated.state[0]);
  for (index_t h = 0; h < heads; ++h) {  // and every head is the kernel on its columns
    const auto of_head = [h](const matrix<double>& m, index_t width) {
      return matrix<double>(m.view().columns(h * width, width), placement{});
    };
    operands<double> p;
    p.q = of_head(q, K), p.k = of_head(k, K), p.v = of_head(shared.v, V);
    p.scalars = of_head(alpha, 1), p.beta = of_head(beta, 1);
    p.S = matrix<double>(start.view().range(h * K, (h + 1) * K), placement{});
    const auto alone = p.run(rules::gated_delta_net, native_of<recurrence<rules::gated_delta_net>, double>);
    CHECK(alone.outputs == of_head(grouped.outputs, V));
    CHECK(alone.state[0] == matrix<double>(grouped.state[0].view().range(h * K, (h + 1) * K), placement{}));
  }
}
