// SPDX-License-Identifier: Apache-2.0
// Merging on eviction: with counts, entries of equal keys are merged without loss.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"
#include "unit/evict/published.hpp"

#include <cmath>

using namespace mneme;
using mneme_test::selection;

namespace {

constexpr index_t d = 4, width = 3 * d;

kv_attention_params projections() {
  return {selection(d, width, 0), selection(d, width, d), selection(d, width, 2 * d), selection(width, d, 0)};
}
kv_attention_config shape(index_t capacity, evict::merge merging,
                          evict::trigger when = evict::trigger::token) {
  return {.d_model = width,
          .heads = 1,
          .head_dim = d,
          .capacity = capacity,
          .rope_base = 0,
          .when = when,
          .merging = merging};
}
// Random queries and values; keys of two directions by turns.
mneme_test::matrix<double> two_keys(index_t n) {
  auto X = mneme_test::random_rows<double>(n, width, 0, 5);
  for (index_t t = 0; t < n; ++t)
    for (index_t c = 0; c < d; ++c) X.view()[t][d + c] = t % 2 ? (c == 0 ? 1.5 : 0) : (c == 1 ? 0.75 : -0.25);
  return X;
}
// The largest difference of outputs to those of the full cache; boundaries after every 7th token.
template <class Policy>
double loss(const kv_attention_config& c) {
  const kv_attention<double, Policy> m(c, projections());
  const kv_attention<double> full(c, projections());
  const auto X = two_keys(60);
  context ctx;
  auto s = m.init();
  auto all = full.init();
  std::vector<double> a(width), b(width);
  double worst = 0;
  for (index_t t = 0; t < 60; ++t) {
    m.step(ctx, s, X.view()[t], a);
    full.step(ctx, all, X.view()[t], b);
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    if (t % 7 == 6) m.end_segment(ctx, s);
  }
  if (c.merging == evict::merge::counted) {  // every token is still counted
    double tokens = 0, key[d + 1];
    for (index_t i = 0; i < s.size; ++i) {
      s.store.rows({1, d + 1, d}, 0, s.size).template key_row<simd::scalar>(i, key);
      tokens += std::exp(key[d]);
    }
    CHECK(std::abs(tokens - 60) < 1e-4);
  }
  return worst;
}

}  // namespace

TEMPLATE_TEST_CASE("merging equal keys with counts loses nothing", "", evict::window, evict::h2o) {
  for (const auto when : {evict::trigger::token, evict::trigger::segment})
    for (index_t capacity : {4, 9}) {
      CAPTURE(TestType::name, capacity, static_cast<int>(when));
      CHECK(loss<TestType>(shape(capacity, evict::merge::counted, when)) < 2e-6);
      CHECK(loss<TestType>(shape(capacity, evict::merge::nearest, when)) > 1e-2);
      CHECK(loss<TestType>(shape(capacity, evict::merge::none, when)) > 1e-2);
    }
}

TEST_CASE("what points elsewhere is dropped, not merged") {
  // One direction and its opposite: the entry that leaves finds no neighbour.
  const auto keep = shape(1, evict::merge::counted);
  const kv_attention<double, evict::window> m(keep, projections());
  auto X = mneme_test::random_rows<double>(2, width, 0, 5);
  for (index_t t = 0; t < 2; ++t)
    for (index_t c = 0; c < d; ++c) X.view()[t][d + c] = t % 2 ? -1 : 1;
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, X);
  double value[d], key[d + 1];
  s.store.rows({1, d + 1, d}, 0, 1).value_row<simd::scalar>(0, value);
  s.store.rows({1, d + 1, d}, 0, 1).key_row<simd::scalar>(0, key);
  for (index_t c = 0; c < d; ++c) CHECK(std::abs(value[c] - X.view()[1][2 * d + c]) < 1e-6);
  CHECK(key[d] == 0);
}

TEST_CASE("two equal keys make the mean of their values") {
  const kv_attention<double, evict::window> m(shape(1, evict::merge::counted), projections());
  auto X = mneme_test::random_rows<double>(2, width, 0, 5);
  for (index_t t = 0; t < 2; ++t)
    for (index_t c = 0; c < d; ++c) X.view()[t][d + c] = 1;
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, X);
  double value[d];
  s.store.rows({1, d + 1, d}, 0, 1).value_row<simd::scalar>(0, value);
  for (index_t c = 0; c < d; ++c)
    CHECK(std::abs(value[c] - (X.view()[0][2 * d + c] + X.view()[1][2 * d + c]) / 2) < 1e-6);
}
