// SPDX-License-Identifier: Apache-2.0
// What memories with a matrix per head recall without writing: read against its equation, from the state.
#include <mneme/core/compose/cross.hpp>
#include <mneme/memory/gated_delta_net.hpp>
#include <mneme/memory/linear_attention.hpp>
#include <mneme/memory/mamba2.hpp>

#include "plain_delta.hpp"

using namespace mneme;

namespace {

using plain::at;

// S^T q of every head, S [heads, K, V] as a state holds it, q [key_heads, K].
plain::row recalled(const buffer<double>& S, const plain::row& q, const detail::matrix_shape& s) {
  plain::row o(static_cast<std::size_t>(s.heads * s.V));
  for (index_t h = 0; h < s.heads; ++h)
    for (index_t i = 0; i < s.K; ++i)
      for (index_t j = 0; j < s.V; ++j)
        at(o, h * s.V + j) += at(q, h / (s.heads / s.key_heads) * s.K + i) * S[(h * s.K + i) * s.V + j];
  return o;
}

// max |got - expected| / max |expected| for every row asked after the rows X, one by one and through cross.
// equation(state, X, x)
template <class M, class F>
double read_error(const M& m, const plain::rows& X, const plain::rows& questions, F&& equation) {
  context ctx;
  auto past = m.init();
  plain::row y(static_cast<std::size_t>(m.d_out())), crossed = y;
  for (const auto& x : X) step(m, ctx, past, x, y);
  const auto before = past;
  const auto across = cross(m, past);
  auto none = across.init();
  double error = 0, scale = 0;
  for (const auto& x : questions) {
    read(m, ctx, past, x, y);
    step(across, ctx, none, x, crossed);
    CHECK(crossed == y);
    const auto expected = equation(past, X, x);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double d = std::abs(y[i] - expected[i]);
      error = d <= error ? error : d;  // NaN stays
      scale = std::max(scale, std::abs(expected[i]));
    }
  }
  CHECK(past == before);
  return error / scale;
}

}  // namespace

TEST_CASE("linear_attention recalls the values of the past under the query, over the sums of the past") {
  for (const bool normalise : {true, false}) {
    const linear_attention<double> m(
        {.d_model = 7, .heads = 3, .head_dim_k = 5, .head_dim_v = 19, .normalise = normalise}, 5);
    const auto& c = m.configuration();
    const auto& p = m.weights();
    const auto equation = [&](const auto& s, const plain::rows&, const plain::row& x) {
      auto q = plain::product(p.q_proj, x);
      for (double& v : q) v = (v > 0 ? v + 1 : std::exp(v)) / std::sqrt(5.0);
      auto o = recalled(s.S, q, m.shape(c));
      for (index_t h = 0; normalise && h < 3; ++h) {
        double sum = c.epsilon;
        for (index_t i = h * 5; i < (h + 1) * 5; ++i) sum += s.z[i] * at(q, i);
        for (index_t j = h * 19; j < (h + 1) * 19; ++j) at(o, j) /= sum;
      }
      return plain::product(p.o_proj, o);
    };
    CHECK(read_error(m, plain::random_rows(9, 7, 6), plain::random_rows(4, 7, 8), equation) <= 1e-12);
  }
}

TEST_CASE("gated_delta_net convolves the row it is asked with the rows before it") {
  for (const index_t tokens : {0, 2, 9}) {
    const gated_delta_net_config c{
        .d_model = 6, .heads = 2, .value_heads = 4, .head_dim_k = 5, .head_dim_v = 9};
    auto p = gated_delta_net<double>(c, 3).weights();
    plain::randomise(p.o_norm, 1);
    const gated_delta_net<double> m(c, p);
    const auto equation = [&](const auto& s, plain::rows X, const plain::row& x) {
      X.push_back(x);
      const auto Q = plain::convolved(plain::product(p.q_proj, X), p.q_conv1d);
      plain::row q;
      for (index_t h = 0; h < 2; ++h)
        for (const double v : plain::unit(plain::head(Q.back(), h, 5))) q.push_back(v / std::sqrt(5.0));
      auto o = plain::head_norm(recalled(s.S, q, m.shape(m.configuration())), p.o_norm, c.epsilon);
      const auto gate = plain::product(p.g_proj, x);
      for (std::size_t j = 0; j < o.size(); ++j) o[j] *= plain::silu(gate[j]);
      return plain::product(p.o_proj, o);
    };
    const auto X = plain::random_rows(tokens, 6, 6), questions = plain::random_rows(4, 6, 8);
    if (tokens > 0) {
      CHECK(read_error(m, X, questions, equation) <= 1e-12);
    } else {
      context ctx;
      plain::row y(6, 1.0);
      read(m, ctx, m.init(), questions[0], y);
      CHECK(y == plain::row(6));  // nothing to recall
    }
  }
}

TEST_CASE("mamba2 recalls what its state holds, without what feeds through") {
  const mamba2_config c{.d_model = 6, .d_state = 5, .headdim = 3, .ngroups = 2};
  auto p = mamba2<double>(c, 3).weights();
  plain::randomise(p.norm, 1);
  const mamba2<double> m(c, p);
  constexpr index_t E = 12, GN = 10, first = 2 * E + GN;  // first row of C in in_proj
  const auto equation = [&](const auto& s, plain::rows X, const plain::row& x) {
    X.push_back(x);
    const auto projected = plain::product(p.in_proj, X);
    const auto taps = plain::elements(p.conv1d_weight), bias = plain::elements(p.conv1d_bias),
               norm = plain::elements(p.norm);
    plain::row C;
    for (index_t i = 0; i < GN; ++i) {
      double u = at(bias, E + GN + i);
      for (std::size_t back = 0; back < 4; ++back)
        u += at(taps, (E + GN + i) * 4 + 3 - static_cast<index_t>(back)) *
             at(projected[X.size() - 1 - back], first + i);
      C.push_back(plain::silu(u));
    }
    auto o = recalled(s.S, C, m.shape(c));
    for (index_t e = 0; e < E; ++e) at(o, e) *= plain::silu(at(projected.back(), e));
    plain::row normed;
    for (index_t g = 0; g < 2; ++g) {
      const auto of_group = plain::head(o, g, 6);
      for (index_t e = 0; e < 6; ++e)
        normed.push_back(at(of_group, e) * at(norm, g * 6 + e) /
                         std::sqrt(plain::dot(of_group, of_group) / 6 + c.epsilon));
    }
    return plain::product(p.out_proj, normed);
  };
  CHECK(read_error(m, plain::random_rows(9, 6, 6), plain::random_rows(4, 6, 8), equation) <= 1e-12);
}
