// SPDX-License-Identifier: Apache-2.0
// Scores and kept sets of the published numbers: the policies that weigh all entries at once.
#include <mneme/evict/expected_attention.hpp>
#include <mneme/evict/keydiff.hpp>
#include <mneme/evict/knorm.hpp>
#include <mneme/evict/lagkv.hpp>
#include <mneme/evict/snapkv.hpp>

#include "catch.hpp"
#include "unit/evict/published.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mneme;
using mneme_test::numbers;
using mneme_test::published::d, mneme_test::published::tokens;

namespace {

constexpr index_t capacity = 32;

std::vector<double> wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }
struct published {
  std::vector<double> q = wide(numbers(3, 3)), k = wide(numbers(1)), v = wide(numbers(2)),
                      scores = std::vector<double>(tokens);
  std::vector<index_t> positions = std::vector<index_t>(tokens);
  std::vector<double> memory;
  context ctx;
  rope turns{d, 1e4, rope_pairs::half_split};

  published() { std::iota(positions.begin(), positions.end(), index_t{0}); }
  mat_view<const double> rows(const std::vector<double>& x) const { return {x.data(), tokens, d}; }
  evict::moment at(index_t t) const { return {t, capacity, t + 1}; }

  template <class P>
  std::vector<double> of() {
    if constexpr (evict::ReadsQueries<P>) {
      memory.assign(static_cast<std::size_t>(P::query_memory(d, capacity)), 0.0);
      for (index_t t = 0; t < tokens; ++t) P::template observe<double>(memory, rows(q)[t], at(t));
    }
    const evict::list_view<double> list{
        positions, rows(k), rows(v), {memory.data(), 1, static_cast<index_t>(memory.size())}, turns};
    P::template score_list<double>(ctx, list, at(tokens - 1), scores);
    return scores;
  }
};
// The best `capacity` as bits; among equal scores the newest.
std::uint64_t kept(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a > b;
  });
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(capacity); ++i) bits |= std::uint64_t{1} << order[i];
  return bits;
}
void near(const std::vector<double>& scores, std::vector<double> at_5_20_40) {
  const std::size_t at[] = {5, 20, 40};
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(scores[at[i]] - at_5_20_40[i]) < 1.5e-6);
}

}  // namespace

TEST_CASE("knorm is minus the length of the key") {
  const published p;
  std::vector<double> scores;
  for (index_t t = 0; t < tokens; ++t) scores.push_back(evict::knorm::first(p.rows(p.k)[t], p.rows(p.v)[t]));
  near(scores, {-1.816334, -1.459945, -1.544684});
  CHECK(kept(scores) == 0x59414dd5753b7489ull);
}

TEST_CASE("keydiff is minus the cosine with the mean direction") {
  published p;
  const auto scores = p.of<evict::keydiff>();
  near(scores, {-0.377282, 0.066129, -0.402688});
  CHECK(kept(scores) == 0x0c4e6a037f9db887ull);
  p.k.assign(p.k.size(), 0.0);
  for (double s : p.of<evict::keydiff>()) CHECK(s == 0);
}

TEST_CASE("lagkv ranks within partitions") {
  published p;
  const auto scores = p.of<evict::lagkv_by<8>>();
  near(scores, {0.625, 0.75, 0.75});
  CHECK(kept(scores) == 0xfff4619b0855024full);
  const auto constant = p.of<evict::lagkv_by<1>>();  // one token has no range
  for (std::size_t t = 4; t < 63; ++t) CHECK(constant[t] == 0);
  CHECK(constant[63] == 1);
  for (double s : constant) CHECK(s == s);
}

TEST_CASE("snapkv is the pooled attention of the newest queries") {
  published p;
  const auto scores = p.of<evict::snapkv_of<8, 5>>();
  std::vector<double> means = scores;
  for (double& s : means) s /= 8 * 5;
  near(means, {0.014872, 0.013284, 0.014462});
  CHECK(kept(scores) == 0xff7e00fc03e007ccull);
  for (std::size_t t = 56; t < 64; ++t) CHECK(scores[t] == evict::keep_always<double>);
}

TEST_CASE("expected attention is that of normal queries") {
  published p;
  const auto scores = p.of<evict::expected_attention_for<16>>();
  near(scores, {0.031881, 0.033767, 0.025066});
  CHECK(kept(scores) == 0xeaacf227005c8b6full);
  for (std::size_t t = 0; t < 4; ++t) CHECK(scores[t] == evict::keep_always<double>);
}

TEST_CASE("expected attention remembers mean and covariance") {
  published p;
  p.of<evict::expected_attention_for<16>>();
  for (index_t i = 0; i < d; ++i)
    for (index_t j = 0; j < d; ++j) {
      double a = 0, b = 0, ab = 0;
      for (index_t t = 4; t < tokens; ++t) a += p.rows(p.q)[t][i] / 60, b += p.rows(p.q)[t][j] / 60;
      for (index_t t = 4; t < tokens; ++t) ab += (p.rows(p.q)[t][i] - a) * (p.rows(p.q)[t][j] - b) / 60;
      CHECK(std::abs(p.memory[static_cast<std::size_t>(i)] - a) < 1e-13);
      CHECK(std::abs(p.memory[static_cast<std::size_t>(d + i * d + j)] - ab) < 1e-13);
    }
}
