// SPDX-License-Identifier: Apache-2.0
// Positions counted in the cache, part of the channels turned, scores that fall with the distance: against
// plain loops.
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"
#include "unit/memory/plain_layer.hpp"

using namespace mneme;
using numbers = std::vector<double>;

namespace {

// W x_t of all tokens, one after the other.
numbers projected(const weight& w, mat_view<const double> X) {
  numbers out;
  for (index_t t = 0; t < X.rows(); ++t)
    for (double y : plain::product(w, numbers(X[t].begin(), X[t].end()))) out.push_back(y);
  return out;
}

// What token t answers if it attends to the tokens of `seen`, the last of which is itself, or stands before
// it.
struct plain_attention {
  kv_attention_config c;
  numbers q, k, v;
  const weight& o_proj;

  template <class M>
  plain_attention(const M& m, mat_view<const double> X)
      : c(m.configuration()),
        q(projected(m.weights().q_proj, X)),
        k(projected(m.weights().k_proj, X)),
        v(projected(m.weights().v_proj, X)),
        o_proj(m.weights().o_proj) {}

  numbers head(const numbers& all, index_t t, index_t heads, index_t h) const {
    const auto from = all.begin() + (t * heads + h) * c.head_dim;
    return {from, from + c.head_dim};
  }
  void turn(numbers& x, index_t position) const {
    const index_t n = c.rotary_dim / 2;
    for (index_t i = 0; i < n; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(c.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim));
      double &a = x[static_cast<std::size_t>(i)], &b = x[static_cast<std::size_t>(i + n)];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = turned;
    }
  }
  numbers answer(index_t t, const std::vector<index_t>& seen) const {
    const bool by_place = c.positions == kv_positions::cache;
    const auto place = [&](std::size_t i) { return by_place ? static_cast<index_t>(i) : seen[i]; };
    numbers o;
    for (index_t h = 0; h < c.heads; ++h) {
      const index_t list = h * c.kv_heads / c.heads;
      numbers query = head(q, t, c.heads, h), sum(static_cast<std::size_t>(c.head_dim));
      const index_t here = by_place ? static_cast<index_t>(seen.size()) - (seen.back() == t ? 1 : 0) : t;
      if (c.rope_base > 0) turn(query, here);
      double total = 0;
      for (std::size_t i = 0; i < seen.size(); ++i) {
        numbers key = head(k, seen[i], c.kv_heads, list);
        if (c.rope_base > 0) turn(key, place(i));
        double score = 0;
        for (std::size_t e = 0; e < key.size(); ++e) score += query[e] * key[e];
        score /= std::sqrt(static_cast<double>(c.head_dim));
        if (c.alibi)
          score -= std::pow(2.0, -8.0 * static_cast<double>(h + 1) / static_cast<double>(c.heads)) *
                   static_cast<double>(here - place(i));
        const numbers value = head(v, seen[i], c.kv_heads, list);
        total += std::exp(score);
        for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += std::exp(score) * value[e];
      }
      for (double x : sum) o.push_back(x / total);
    }
    return plain::product(o_proj, o);
  }
};

template <class Policy>
void compare(kv_attention_config c) {
  CAPTURE(Policy::name, c.rope_base, c.alibi, static_cast<int>(c.positions));
  const kv_attention<double, Policy> m(c, 12);
  const auto X = mneme_test::random_rows<double>(30, c.d_model, 0, 6);
  const plain_attention right(m, X);
  context ctx;
  auto s = m.init();
  numbers y(static_cast<std::size_t>(c.d_model)), read = y;
  std::vector<index_t> seen;
  const auto distance = [](const numbers& a, const numbers& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
  };
  for (index_t t = 0; t < 30; ++t) {
    m.read(ctx, s, X.view()[t], read);
    if (t > 0) REQUIRE(distance(read, right.answer(t, seen)) < 1e-6);
    m.step(ctx, s, X.view()[t], y);
    seen.push_back(t);
    REQUIRE(distance(y, right.answer(t, seen)) < 1e-6);  // stored as float32
    if (static_cast<index_t>(seen.size()) > c.capacity)
      seen.erase(seen.begin() + (std::is_same_v<Policy, evict::sinks> ? 4 : 0));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("positions in the cache, part of the channels, slopes", "", evict::window, evict::sinks) {
  kv_attention_config c{.d_model = 7, .heads = 4, .kv_heads = 2, .head_dim = 6, .capacity = 6};
  for (kv_positions positions : {kv_positions::stream, kv_positions::cache})
    for (index_t rotary_dim : {6, 4})
      for (double base : {10000.0, 0.0})
        for (bool alibi : {false, true}) {
          c.positions = positions, c.rotary_dim = rotary_dim, c.rope_base = base, c.alibi = alibi;
          compare<TestType>(c);
        }
}
