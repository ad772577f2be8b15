// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#include "catch.hpp"
#include "laws/counting_resource.hpp"
#include "sample_memories.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

using any = any_memory<float>;

// Says that it holds the positions of its newest two rows.
struct recent : journal<float> {
  explicit recent(index_t width) : journal<float>{width} {}
  index_t capacity() const { return 2; }
  index_t lists() const { return 1; }
  std::vector<index_t> live(const state& s, index_t) const {
    const index_t n = s.rows.size() / d;
    return n < 2 ? std::vector<index_t>(static_cast<std::size_t>(n)) : std::vector<index_t>{n - 2, n - 1};
  }
};

}  // namespace

TEST_CASE("an erased memory is a memory that equals the erased one") {
  static_assert(Scannable<any>);
  static_assert(Batched<any>);
  const auto inner = chain(linear<float>({.d_in = 3, .d_out = 4}, 1), leaky<float>{4});
  const any m = inner;
  CHECK(m.d_in() == 3);
  CHECK(m.d_out() == 4);
  CHECK(m.vocabulary() == 0);
  const table<float> X(8, 3);
  const table<float> expected = stepped(inner, X);
  state_t<any> end;
  CHECK(stepped(m, X, &end) == expected);
  for (index_t wanted : {0, 1, 8}) {
    context ctx;
    auto s = m.init();
    table<float> Y(wanted, 4, 9);
    scan(m, ctx, s, X, Y);
    CHECK(Y.is_end_of(expected));
    CHECK(s == end);
  }
  CHECK(end.as<state_t<decltype(inner)>>() == [&] {
    state_t<decltype(inner)> s;
    stepped(inner, X, &s);
    return s;
  }());
}

TEST_CASE("an erased memory scans lanes") {
  const any m = leaky<float>{3};
  const table<float> X(6, 3);
  std::vector<any_state<float>> states(3, m.init()), alone = states;
  const std::vector<lane<any_state<float>>> lanes{{&states[0], 2, 1}, {&states[1], 0, 0}, {&states[2], 4, 3}};
  table<float> Y(4, 3, 9), expected = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  scan(m, ctx, alone[0], X.view().range(0, 2), expected.view().range(0, 1));
  scan(m, ctx, alone[2], X.view().range(2, 6), expected.view().range(1, 4));
  CHECK(Y == expected);
  CHECK(states == alone);
}

TEST_CASE("refinements of an erased memory are asked for at run time") {
  const any plain = leaky<float>{2}, growing = journal<float>{2}, evicting = recent(2);
  CHECK_FALSE(plain.growing());
  CHECK_FALSE(plain.segmented());
  CHECK_FALSE(plain.readable());
  CHECK_FALSE(plain.evicting());
  CHECK_FALSE(plain.is_row_stable());
  auto s = plain.init();
  const auto before = s;
  context ctx;
  CHECK(reserve(plain, s, 5));
  end_segment(plain, ctx, s);
  CHECK(s == before);

  CHECK(growing.growing());
  CHECK(growing.segmented());
  CHECK(growing.readable());
  CHECK_FALSE(growing.evicting());
  s = growing.init();
  CHECK(reserve(growing, s, 5));
  CHECK(s.as<journal<float>::state>().rows.capacity() == 10);
  const table<float> X(3, 2);
  table<float> Y(3, 2), recalled(1, 2);
  scan(growing, ctx, s, X, Y);
  const auto written = s;
  growing.read(ctx, s, X.view()[0], recalled.view()[0]);
  CHECK(recalled.is_end_of(Y));
  CHECK(s == written);
  end_segment(growing, ctx, s);
  growing.read(ctx, s, X.view()[0], recalled.view()[0]);
  CHECK(recalled.all == std::vector<float>{0, 0});

  CHECK(evicting.evicting());
  CHECK(evicting.capacity() == 2);
  CHECK(evicting.lists() == 1);
  s = evicting.init();
  scan(evicting, ctx, s, X, Y);
  CHECK(evicting.live(s, 0) == std::vector<index_t>{1, 2});
  CHECK(any(linear<float>({.d_in = 2, .d_out = 2})).is_row_stable());
}

TEST_CASE("an erased memory is rewound if what it erases can be") {
  CHECK_FALSE(any(leaky<float>{2}).rewindable());
  const any m = rewindable(leaky<float>{2}, {.snapshot_every = 2, .log_capacity = 4});
  CHECK(m.rewindable());
  const table<float> X(7, 2);
  table<float> Y(7, 2);
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, X.view().first(6), Y.view().first(6));
  const auto copy = s;
  scan(m, ctx, s, X.view().last(1), Y.view().last(1));
  CHECK(m.mark(s) == 7);
  CHECK(m.rewindable_by(s) == 3);
  const auto now = s;
  CHECK_FALSE(m.rewind(ctx, s, 3));
  CHECK(s == now);
  CHECK(m.rewind(ctx, s, m.mark(copy)));
  CHECK(m.rewindable_by(copy) == 4);
  CHECK(s.as<rewindable_state<leaky<float>::state, float>>().now ==
        copy.as<rewindable_state<leaky<float>::state, float>>().now);
}

TEST_CASE("erased memories compose and are erased again") {
  const any inner = leaky<float>{3};
  const linear<float> first({.d_in = 3, .d_out = 3}, 4);
  const any outer = chain(any(first), residual(inner), stack(std::vector<any>{inner}));
  const auto direct = chain(first, residual(leaky<float>{3}), leaky<float>{3});
  const table<float> X(5, 3);
  CHECK(stepped(outer, X) == stepped(direct, X));
  auto s = outer.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"1.h", "2.0.h"});
  context ctx;
  table<float> Y(5, 3, 9);
  scan(outer, ctx, s, X, Y);
  CHECK(Y == stepped(direct, X));
  const auto fork = s;
  table<float> next(1, 3);
  outer.step(ctx, s, X.view()[0], next.view()[0]);
  CHECK_FALSE(fork == s);
  s = fork;
  CHECK(s == fork);
}

TEST_CASE("an erased memory that reads tokens") {
  const embedding<float> inner({.vocabulary = 6, .d_model = 4}, 3);
  const any_memory<float, token_id> m = inner;
  static_assert(!std::is_constructible_v<any_memory<float>, embedding<float>>);
  static_assert(!std::is_constructible_v<any_memory<double>, leaky<float>>);
  CHECK(m.vocabulary() == 6);
  CHECK(m.d_in() == 1);
  CHECK(m.is_row_stable());
  const std::vector<token_id> ids{5, 0, -1, 6};
  table<float> Y(4, 4), expected = Y;
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, mat_view<const token_id>(ids.data(), 4, 1), Y);
  inner.map(ctx, {ids.data(), 4, 1}, expected);
  CHECK(Y == expected);
}

TEST_CASE("validity of an erased state is that of the state") {
  const any fixed = leaky<float>{3}, own = journal<float>{2};
  auto s = fixed.init();
  CHECK(fixed.valid(s));
  CHECK(valid(fixed, s));
  s.as<leaky<float>::state>().h.resize(2);
  CHECK_FALSE(fixed.valid(s));
  auto j = own.init();
  CHECK(own.valid(j));
  j.as<journal<float>::state>().segment = 1;
  CHECK_FALSE(own.valid(j));
}

TEST_CASE("copies of an erased memory share the memory and outlive each other") {
  std::optional<any> first = any(leaky<float>{2});
  const any second = *first;
  auto s = first->init();
  first.reset();
  context ctx;
  table<float> y(1, 2);
  second.step(ctx, s, table<float>(1, 2).view()[0], y.view()[0]);
  CHECK(second.valid(s));
}

TEST_CASE("resetting an erased state allocates nothing from its place") {
  mneme_test::counting_resource where;
  const any m = chain(leaky<float>{8}, any(leaky<float>{8}));
  const auto start = m.init({&where});
  auto s = start;
  CHECK(where.allocations == 4);
  context ctx;
  table<float> Y(3, 8);
  scan(m, ctx, s, table<float>(3, 8), Y);
  s = start;
  CHECK(s == start);
  CHECK(where.allocations == 4);
}
