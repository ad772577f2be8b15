// SPDX-License-Identifier: Apache-2.0
// kv_attention over the stores: the same bits over every layout, forks that share pages, codes of few bits.
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/store/kivi.hpp>
#include <mneme/store/paged.hpp>
#include <mneme/store/ring.hpp>

#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::random_rows;

namespace {

using plain = store::contiguous<store::f32>;
using paged = store::paged<store::f32>;

constexpr kv_attention_config shape{.d_model = 24, .heads = 6, .kv_heads = 2, .head_dim = 10, .capacity = 21};

template <class M>
matrix<float> outputs(const M& m, index_t tokens) {
  const auto X = random_rows<float>(tokens, m.d_in(), 0, 3);
  matrix<float> Y(tokens, m.d_out());
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, X, Y.view());
  return Y;
}

}  // namespace

TEST_CASE("layouts change no bit of the outputs") {
  const auto windowed = outputs(kv_attention<float, evict::window>(shape, 1), 70);
  CHECK(outputs(kv_attention<float, evict::window, store::ring<store::f32>>(shape, 1), 70) == windowed);
  CHECK(outputs(kv_attention<float, evict::window, paged>(shape, 1), 70) == windowed);
  for (index_t capacity : {1, 3, 5, 21}) {
    auto c = shape;
    c.capacity = capacity;
    CHECK(outputs(kv_attention<float, evict::sinks, store::ring<store::f32>>(c, 1), 70) ==
          outputs(kv_attention<float, evict::sinks>(c, 1), 70));
  }
  CHECK(outputs(kv_attention<float, evict::full, paged>(shape, 1), 70) ==
        outputs(kv_attention<float>(shape, 1), 70));
}

TEST_CASE("a fork of a long prompt shares its pages, and each branch pays for what it adds") {
  const kv_attention<float, evict::full, paged> m(shape, 1);
  const kv_attention<float> apart(shape, 1);
  const auto X = random_rows<float>(420, m.d_in(), 0, 3);
  matrix<float> Y(20, m.d_out()), expected = Y;
  context ctx;
  auto prompt = m.init();
  auto alone = apart.init();
  observe(m, ctx, prompt, X.view().first(400));
  observe(apart, ctx, alone, X.view().first(400));
  const auto before = prompt;
  std::vector<state_t<decltype(m)>> branches(3, prompt);
  const std::size_t page = 64 + 16 * 2 * (10 + 10) * 4;
  CHECK(footprint(branches[0].store.pages).shared == 25 * page);
  CHECK(footprint(branches[0].store.pages).owned == 0);
  for (auto& branch : branches) {
    scan(m, ctx, branch, X.view().last(20), Y.view());
    CHECK(footprint(branch.store.pages).owned == 2 * page);  // 400 fills its last page
    CHECK(footprint(branch.store.pages).shared == 25 * page);
  }
  scan(apart, ctx, alone, X.view().last(20), expected.view());
  CHECK(Y == expected);
  CHECK(branches[0] == branches[2]);
  CHECK(prompt == before);
  CHECK(m.valid(branches[0]));
}

TEST_CASE("a reserved fork steps without taking a page") {
  for (const bool bounded : {false, true}) {
    const auto check = [&](const auto& m) {
      context ctx;
      const auto X = random_rows<float>(90, m.d_in(), 0, 3);
      matrix<float> Y(40, m.d_out());
      auto s = m.init();
      observe(m, ctx, s, X.view().first(50));
      auto fork = s;
      REQUIRE(reserve(m, fork, 40));
      const auto held = [&] {
        const auto f = footprint(fork.store.pages);
        return f.owned + f.shared + f.reserved;
      };
      const auto total = held();
      scan(m, ctx, fork, X.view().last(40), Y.view());
      CHECK(held() == total);
      CHECK(footprint(s.store.pages).shared == footprint(fork.store.pages).shared);
      CHECK((footprint(fork.store.pages).shared == 0) == bounded);
    };
    if (bounded)
      check(kv_attention<float, evict::window, paged>(shape, 1));
    else
      check(kv_attention<float, evict::full, paged>(shape, 1));
  }
}

TEMPLATE_TEST_CASE("kivi attends 32 tokens exactly and later ones nearly", "", store::kivi<2>,
                   store::kivi<4>) {
  const auto exact = outputs(kv_attention<float>(shape, 1), 200);
  const auto coded = outputs(kv_attention<float, evict::full, TestType>(shape, 1), 200);
  CHECK(mneme_test::bit_difference<float>(coded.view().first(32), exact.view().first(32)) == "");
  CHECK(mneme_test::bit_difference<float>(coded.view().last(168), exact.view().last(168)) != "");
  double error = 0, largest = 0;
  for (index_t t = 32; t < 200; ++t)
    for (index_t c = 0; c < 24; ++c) {
      error = std::max<double>(error, std::abs(coded.view()[t][c] - exact.view()[t][c]));
      largest = std::max<double>(largest, std::abs(exact.view()[t][c]));
    }
  CHECK(error < (std::is_same_v<TestType, store::kivi<2>> ? 0.25 : 0.05) * largest);
}

TEST_CASE("threads change no bit of a long list") {
  const kv_attention<float> m({.d_model = 4, .heads = 4, .kv_heads = 1, .head_dim = 32}, 1);
  CHECK_FALSE(mneme_test::threads_change_bits(m, 2100, 60));
}
