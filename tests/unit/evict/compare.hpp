// SPDX-License-Identifier: Apache-2.0
// A policy against the simulation: kept positions, slots and outputs, token by token.
#pragma once
#include "../../catch.hpp"
#include "../../laws/matrix.hpp"
#include "simulation.hpp"

namespace mneme_test {

inline const std::vector<mneme::kv_attention_config> shapes{
    {.d_model = 5, .heads = 1, .head_dim = 4},
    {.d_model = 12, .heads = 3, .rope_base = 0},
    {.d_model = 12, .heads = 6, .kv_heads = 2, .head_dim = 6, .pairs = mneme::rope_pairs::interleaved},
    {.d_model = 8, .heads = 4, .kv_heads = 1, .head_dim = 10},
};

// Random tokens through both. In float32 the choice is compared as long as the two lowest scores are apart.
template <class M>
void compare(const M& m, rule policy, index_t tokens) {
  using T = mneme::scalar_t<M>;
  const bool is_float = std::is_same_v<T, float>;
  const double tolerance = is_float ? 1e-5 : 1e-11;
  simulation expected(policy, m);
  expected.round_stored = [](row& x) {
    for (double& v : x) v = static_cast<float>(v);
  };
  const auto X = random_rows<T>(tokens, m.d_in(), 0, 17);
  mneme::context ctx;
  auto s = m.init();
  std::vector<T> y(static_cast<std::size_t>(m.d_out()));
  for (index_t t = 0; t < tokens; ++t) {
    CAPTURE(t);
    m.step(ctx, s, X.view()[t], y);
    const auto right = expected.step(row(X.view()[t].begin(), X.view()[t].end()));
    if (is_float && (policy == rule::h2o || policy == rule::tova)) REQUIRE(expected.margin > 1e-5);
    for (index_t l = 0; l < m.lists(); ++l) REQUIRE(m.live(s, l) == expected.live(l));
    REQUIRE(m.valid(s));
    double error = 0, scale = 1e-3;
    for (std::size_t i = 0; i < y.size(); ++i) {
      error = std::max(error, std::abs(static_cast<double>(y[i]) - right[i]));
      scale = std::max(scale, std::abs(right[i]));
    }
    REQUIRE(error <= tolerance * scale);
  }
}

}  // namespace mneme_test
