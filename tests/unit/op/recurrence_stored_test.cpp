// SPDX-License-Identifier: Apache-2.0
// The recurrence over a state of bfloat16.
#include "catch.hpp"
#include "recurrence_case.hpp"

using namespace recurrence_test;

namespace {
// A kernel over a state of T and the same over one of bfloat16.
template <class T = float>
struct pair_of_kernels {
  const char* name;
  rule is;
  recurrence_kernel<T> wide;
  void (*narrow)(context&, mat_view<bfloat16>, const recurrence_rows<T>&, mat_view<T>);
};
template <rule R, class Backend = native, class T = float>
pair_of_kernels<T> both(const char* name) {
  using of = kernel<recurrence<R>, Backend>;
  return {name, R, &of::template run<T>, &of::template run<T, bfloat16>};
}

// What differs between all tokens at once over bfloat16, and token by token over a state of T that is
// rounded after each.
template <class T>
std::string rounding_fault(const pair_of_kernels<T>& k, const operands<T>& given, index_t outs) {
  const index_t tokens = given.tokens(), K = given.S.rows(), V = given.S.cols();
  matrix<T> S = given.S, expected(tokens, V), got(outs, V);
  std::vector<bfloat16> narrow(static_cast<std::size_t>(K * V));
  const auto round = [&] {
    for (index_t i = 0; i < K; ++i)
      for (index_t j = 0; j < V; ++j) {
        bfloat16& x = narrow[static_cast<std::size_t>(i * V + j)] = bfloat16(S.view()[i][j]);
        S.view()[i][j] = static_cast<T>(x);
      }
  };
  round();
  auto state = narrow;
  context ctx;
  for (index_t t = 0; t < tokens; ++t) {
    k.wide(ctx, S.view(), given.rows(k.is, t, t + 1, 1), expected.view().range(t, t + 1));
    round();
  }
  k.narrow(ctx, {state.data(), K, V}, given.rows(k.is, 0, tokens, outs), got.view());
  if (!(state == narrow)) return std::string(k.name) + ": another state";
  for (index_t r = 0; r < outs; ++r)
    if (!same_bits(got.view()[r].data(), expected.view()[tokens - outs + r].data(), V))
      return std::string(k.name) + ": another output " + std::to_string(r);
  return {};
}
}  // namespace

TEST_CASE("a state of bfloat16 is one of float that is rounded after every token") {
  for (const auto& k : {both<rules::gla>("key decay"), both<rules::rwkv7>("dplr"),
#if !defined(__SANITIZE_ADDRESS__)  // whose kernels compile slowly
                        both<rules::mamba2>("scalar decay"), both<rules::rwkv6>("read before"),
                        both<rules::gated_delta_net>("delta"),
#endif
                        both<rules::gla, reference>("reference")})
    for (const auto& [K, V] : {std::pair<index_t, index_t>{1, 1}, {5, 16}, {2, 131}, {9, 67}, {16, 255}})
      for (const index_t tokens : {1, 2, 9}) {
        CAPTURE(K, V, tokens);
        CHECK(rounding_fault(k, random_operands<float>(tokens, K, V, 61, ugly), tokens / 2 + 1) == "");
      }
}

TEST_CASE("a state of bfloat16 beside operands of double") {
  const auto given = random_operands<double>(9, 17, 83, 62);
  CHECK(rounding_fault(both<rules::gated_delta_net, native, double>("delta"), given, 9) == "");
}

TEST_CASE("a state of bfloat16 has the same bits on every architecture") {
  const auto pairs =
      on_archs<test_archs>([]<class Arch>() { return both<rules::gated_delta_net, cpu<Arch>>(""); });
  for (const auto& [arch, k] : pairs) {
    CAPTURE(arch);
    CHECK(rounding_fault(k, random_operands<float>(9, 17, 83, 62), 9) == "");
  }
}

// A rounding costs at most 2^-8 of an element, and a decay forgets it.
TEST_CASE("outputs from a state of bfloat16 stay near those from float") {
  auto p = random_operands<float>(512, 32, 48, 63);
  for (matrix<float>* m : {&p.scalars, &p.keys})
    for (index_t t = 0; t < m->rows(); ++t)
      for (float& alpha : m->view()[t]) alpha = 0.9f + 0.09f * alpha;
  p.S = matrix<float>(32, 48, {}, 0.0f);
  for (const auto& k : {both<rules::gla>("gla"), both<rules::gated_delta_net>("gated delta")}) {
    CAPTURE(k.name);
    std::vector<bfloat16> state(32 * 48);
    matrix<float> O(512, 48);
    context ctx;
    k.narrow(ctx, {state.data(), 32, 48}, p.rows(k.is, 0, 512, 512), O.view());
    const auto expected = p.run(k.is, k.wide).outputs;
    const double error = relative_error(O, mneme_test::widened<float>(expected.view()));
    CHECK((error > 1e-4 && error < 0.01));
  }
}
