// SPDX-License-Identifier: Apache-2.0
// Policies by hits and by key against the simulation; the draw.
#include <mneme/evict/knorm.hpp>
#include <mneme/evict/lfu.hpp>
#include <mneme/evict/lru.hpp>
#include <mneme/evict/random.hpp>

#include "catch.hpp"
#include "unit/evict/compare.hpp"

#include <set>

using namespace mneme;
using mneme_test::rule;

TEMPLATE_TEST_CASE("policies keep what they say", "", evict::lru, evict::lfu, evict::knorm) {
  const rule policy = std::is_same_v<TestType, evict::lru>   ? rule::lru
                      : std::is_same_v<TestType, evict::lfu> ? rule::lfu
                                                             : rule::knorm;
  for (kv_attention_config c : mneme_test::shapes)
    for (index_t C : {1, 2, 5, 16}) {
      CAPTURE(TestType::name, c.heads, c.kv_heads, C);
      c.capacity = C;
      mneme_test::compare(mneme_test::sharpened<kv_attention<double, TestType>>(c, 3), policy, 80);
    }
}

TEST_CASE("scores by hits") {
  const evict::moment now{9, 4, 5};
  const std::vector<double> none;
  CHECK(evict::lru::first<double>(none, none) == -1);
  CHECK(evict::lru::updated(-1.0, 0.1, now) == 0);
  CHECK(evict::lru::updated(3.0, 0.2, now) == 0);
  CHECK(evict::lru::updated(3.0, 0.199, now) == 4);
  CHECK(evict::lru::score(evict::entry<double>{2, 4}, now) == -4);
  CHECK(evict::lfu::updated(3.0, 0.2, now) == 4);
  CHECK(evict::lfu::updated(3.0, 0.199, now) == 3);
  CHECK(evict::lfu::score(evict::entry<double>{2, 4}, now) == 4);
  CHECK(evict::lfu::score(evict::entry<double>{9, 0}, now) == evict::keep_always<double>);
}

TEST_CASE("a draw is fair, the same in every type, another per list and seed") {
  const evict::moment now{0, 1};
  std::vector<int> kept(40);
  for (index_t list = 0; list < 4000; ++list) {  // of 40 entries the 10 of highest score
    std::multiset<double> scores;
    for (index_t p = 0; p < 40; ++p)
      scores.insert(evict::random::score(evict::entry<double>{p, 0, list}, now));
    const double limit = *std::next(scores.begin(), 30);
    for (index_t p = 0; p < 40; ++p)
      kept[static_cast<std::size_t>(p)] +=
          evict::random::score(evict::entry<double>{p, 0, list}, now) >= limit;
  }
  for (int n : kept) CHECK(std::abs(n - 1000) < 140);  // five deviations
  const evict::entry<double> one{7, 0, 2};
  const evict::entry<float> same{7, 0, 2};
  CHECK(evict::random::score(one, now) == static_cast<double>(evict::random::score(same, now)));
  CHECK(evict::random::score(one, now) != evict::random_from<1>::score(one, now));
}
