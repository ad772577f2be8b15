// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

constexpr index_t d = 4, experts = 5;
const linear<double> router({.d_in = d, .d_out = experts, .bias = true}, 3);
auto mixture(index_t k) { return routed(router, k, std::vector<leaky<double>>(experts, leaky<double>{d})); }

// The definition: scores, a stable sort, a softmax over the first k, members one after the other.
struct plain_mixture {
  index_t k;
  std::vector<leaky<double>::state> states = std::vector(experts, leaky<double>{d}.init());

  std::vector<double> token(row_view<const double> x) {
    context ctx;
    nothing none;
    const leaky<double> member{d};
    std::vector<double> score(experts), y(d, 0.0);
    router.step(ctx, none, x, score);
    std::vector<std::size_t> order{0, 1, 2, 3, 4};
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
    order.resize(static_cast<std::size_t>(k));
    double total = 0;
    for (const std::size_t e : order) total += std::exp(score[e]);
    std::sort(order.begin(), order.end());
    for (const std::size_t e : order) {
      std::vector<double> part(d);
      member.step(ctx, states[e], x, part);
      for (std::size_t i = 0; i < d; ++i) y[i] += std::exp(score[e]) / total * part[i];
    }
    return y;
  }
};

// Scores are the row itself.
struct identity {
  using scalar = float;
  using state = nothing;
  index_t n;
  index_t d_in() const { return n; }
  index_t d_out() const { return n; }
  state init(place = {}) const { return {}; }
  void step(context&, state&, row_view<const float> x, row_view<float> y) const noexcept {
    std::copy(x.begin(), x.end(), y.begin());
  }
};

}  // namespace

TEST_CASE("a token is answered by the members that the router scores highest") {
  const table<double> X(20, d, 5);
  for (index_t k = 1; k <= experts; ++k) {
    CAPTURE(k);
    plain_mixture plain{k};
    const table<double> Y = stepped(mixture(k), X);
    for (index_t t = 0; t < 20; ++t) {
      const auto expected = plain.token(X.view()[t]);
      for (index_t i = 0; i < d; ++i) CHECK(Y.view()[t][i] == Approx(expected[static_cast<std::size_t>(i)]));
    }
  }
}

TEST_CASE("scans and lanes of a mixture equal its steps to the bit") {
  const auto m = mixture(2);
  static_assert(row_stable<decltype(m)>);
  const table<double> X(20, d, 6);
  state_t<decltype(m)> end;
  const table<double> expected = stepped(m, X, &end);
  for (index_t rows : {1, 3, 7, 256})
    for (index_t wanted : {0, 1, 20}) {
      context ctx;
      ctx.block_rows = rows;
      auto s = m.init();
      table<double> Y(wanted, d, 9);
      scan(m, ctx, s, X, Y);
      CHECK(Y.is_end_of(expected));
      CHECK(s == end);
    }
  using state = state_t<decltype(m)>;
  std::vector<state> states(3, m.init()), alone = states;
  const std::vector<lane<state>> lanes{{&states[0], 9, 2}, {&states[1], 1, 1}, {&states[2], 10, 10}};
  table<double> Y(13, d, 9), Z = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  scan(m, ctx, alone[0], X.view().range(0, 9), Z.view().range(0, 2));
  scan(m, ctx, alone[1], X.view().range(9, 10), Z.view().range(2, 3));
  scan(m, ctx, alone[2], X.view().range(10, 20), Z.view().range(3, 13));
  CHECK(Y == Z);
  CHECK(states == alone);
}

TEST_CASE("members that are not chosen keep their states to the bit; ties go to the lower index") {
  const auto m = routed(identity{3}, 2, std::vector<leaky<float>>(3, leaky<float>{3}));
  context ctx;
  auto s = m.init();
  const auto chosen_for = [&](std::vector<float> x) {
    const auto before = s;
    std::vector<float> y(3);
    m.step(ctx, s, row_view<const float>(x), y);
    std::vector<int> chosen;
    for (int e = 0; e < 3; ++e)
      if (const auto i = static_cast<std::size_t>(e); !(s.members.items[i] == before.members.items[i]))
        chosen.push_back(e);
    return chosen;
  };
  using list = std::vector<int>;
  CHECK(chosen_for({1, 2, 3}) == list{1, 2});
  CHECK(chosen_for({3, 2, 1}) == list{0, 1});
  CHECK(chosen_for({1, 1, 1}) == list{0, 1});
  CHECK(chosen_for({1, 2, 1}) == list{0, 1});
  CHECK(chosen_for({-2, -1, -1}) == list{1, 2});
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  CHECK(chosen_for({nan, -5, -6}).size() == 2);  // NaN counts as the lowest
  CHECK(chosen_for({-inf, nan, nan}).size() == 2);
}

TEST_CASE("all members with equal scores are their mean, one member of one is that member", "[L20]") {
  const leaky<float> inner{3};
  const table<float> X(6, 3);
  const auto one = routed(linear<float>({.d_in = 3, .d_out = 1}), 1, std::vector{inner});
  CHECK(stepped(one, X) == stepped(inner, X));

  linear<float> flat({.d_in = 3, .d_out = 4});
  std::fill_n(edit<float>(flat.weights().weight), 12, 0.0f);
  const auto all = routed(flat, 4, std::vector(4, inner));
  const table<float> Y = stepped(all, X), expected = stepped(inner, X);
  for (std::size_t i = 0; i < Y.all.size(); ++i) CHECK(Y.all[i] == Approx(expected.all[i]));
}

TEST_CASE("prepare runs all members, whoever zeros would be for") {
  using any = any_memory<float>;
  const auto m =
      any(routed(identity{2}, 1,
                 std::vector<any>{leaky<float>{2}, chain(linear<float>({.d_in = 2, .d_out = 5000}, 1),
                                                         linear<float>({.d_in = 5000, .d_out = 2}, 2))}));
  context ctx(64);
  prepare(m, ctx, 3);
  const auto bytes = ctx.scratch_bytes();
  auto s = m.init();
  const table<float> X(3, 2);
  table<float> Y(3, 2);
  scan(m, ctx, s, X, Y);
  CHECK(ctx.scratch_bytes() == bytes);
  CHECK_FALSE(ctx.preparing);
}

TEST_CASE("parts of a mixture fit together") {
  const std::vector<leaky<double>> members(3, leaky<double>{d});
  CHECK(error_text([&] { routed(router, 1, members); }) == "routed: the router gives 5 scores for 3 members");
  CHECK(error_text([&] { routed(router, 4, members); }) ==
        "routed: k is 4, expected 1 to the number of members, 3");
  CHECK(error_text([&] { mixture(0); }) == "routed: k is 0, expected 1 to the number of members, 5");
  CHECK(error_text([&] { routed(router, 1, std::vector<leaky<double>>{}); }) ==
        "routed: k is 1, expected 1 to the number of members, 0");
  std::vector<leaky<double>> odd(experts, leaky<double>{d});
  odd[2].d = 6;
  CHECK(error_text([&] { routed(router, 1, odd); }) ==
        "routed: member 2 maps rows of 6 to 6, expected 4 to 4");
}

TEST_CASE("states, weights and refinements of a mixture") {
  using member = journal<float>;
  auto m = routed(linear<float>({.d_in = 2, .d_out = 2}, 1), 1, std::vector(2, member{2}));
  static_assert(Growing<decltype(m)> && Segmented<decltype(m)> && CompleteFields<state_t<decltype(m)>>);
  static_assert(!Growing<decltype(mixture(1))> && !Segmented<decltype(mixture(1))>);
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"members.0.rows", "members.0.segment", "members.1.rows",
                                                  "members.1.segment"});
  CHECK(reserve(m, s, 3));
  for (const auto& item : s.members.items) CHECK(item.rows.capacity() == 6);
  context ctx;
  observe(m, ctx, s, table<float>(5, 2));
  const auto total = s.members.items[0].rows.size() + s.members.items[1].rows.size();
  CHECK(total == 10);
  end_segment(m, ctx, s);
  CHECK(s.members.items[0].segment + s.members.items[1].segment == 5);
  CHECK(valid(m, s));
  s.members.items[1].segment = -1;
  CHECK_FALSE(valid(m, s));
  s.members.items.pop_back();
  CHECK_FALSE(valid(m, s));

  auto learned = routed(linear<float>({.d_in = 2, .d_out = 2}, 1), 1,
                        std::vector(2, linear<float>({.d_in = 2, .d_out = 2}, 2)));
  auto w = learned.weights();
  CHECK(leaf_paths(w) == std::vector<std::string>{"router.weight", "router.bias", "members.0.weight",
                                                  "members.0.bias", "members.1.weight", "members.1.bias"});
  visit_fields(
      [](const field_path& at, weight& x) {
        if (at.text() == "members.1.weight") edit<float>(x)[0] = 50;
      },
      w);
  CHECK(data<float>(learned.members()[1].weights().weight)[0] == 50);
}
