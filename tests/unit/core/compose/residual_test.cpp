// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/compose/residual.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

TEST_CASE("a residual adds its input to what the inner memory answers") {
  const leaky<double> inner{4};
  const auto m = residual(inner);
  const table<double> X(6, 4);
  table<double> expected = stepped(inner, X);
  for (std::size_t i = 0; i < X.all.size(); ++i) expected.all[i] += X.all[i];
  CHECK(stepped(m, X) == expected);
  for (index_t wanted : {0, 1, 5, 6}) {
    context ctx;
    auto s = m.init();
    table<double> Y(wanted, 4, 9);
    scan(m, ctx, s, X, Y);
    CHECK(Y.is_end_of(expected));
  }
}

TEST_CASE("a residual of a residual adds twice") {
  const leaky<double> inner{3};
  const auto twice = residual(residual(inner));
  static_assert(std::is_same_v<decltype(twice), const residual_of<residual_of<leaky<double>>>>);
  const table<double> X(5, 3);
  table<double> expected = stepped(inner, X);
  for (std::size_t i = 0; i < X.all.size(); ++i) expected.all[i] = expected.all[i] + X.all[i] + X.all[i];
  CHECK(stepped(twice, X) == expected);
}

TEST_CASE("a residual scans lanes of which only some outputs are wanted") {
  const auto m = residual(leaky<float>{3});
  const table<float> X(9, 3);
  using state = state_t<decltype(m)>;
  std::vector<state> states(3, m.init()), alone = states;
  const std::vector<lane<state>> lanes{{&states[0], 4, 2}, {&states[1], 3, 3}, {&states[2], 2, 0}};
  table<float> Y(5, 3, 9), expected = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  scan(m, ctx, alone[0], X.view().range(0, 4), expected.view().range(0, 2));
  scan(m, ctx, alone[1], X.view().range(4, 7), expected.view().range(2, 5));
  observe(m, ctx, alone[2], X.view().range(7, 9));
  CHECK(Y == expected);
  CHECK(states == alone);
}

TEST_CASE("a residual takes memories that keep the width") {
  CHECK(error_text([] { residual(linear<float>({.d_in = 3, .d_out = 4})); }) ==
        "residual: the inner memory takes rows of 3 and gives 4");
}

TEST_CASE("state, weights and refinements of a residual are those of the inner memory") {
  auto m = residual(journal<float>{2});
  static_assert(Growing<decltype(m)>);
  static_assert(Segmented<decltype(m)>);
  static_assert(!Growing<residual_of<leaky<float>>>);
  static_assert(std::is_same_v<state_t<decltype(m)>, journal<float>::state>);
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"rows", "segment"});
  CHECK(reserve(m, s, 10));
  CHECK(s.rows.capacity() == 20);
  context ctx;
  table<float> Y(3, 2);
  scan(m, ctx, s, table<float>(3, 2), Y);
  end_segment(m, ctx, s);
  CHECK(s.segment == 3);
  CHECK(valid(m, s));
  s.segment = 4;
  CHECK_FALSE(valid(m, s));

  auto with_weights = residual(linear<float>({.d_in = 2, .d_out = 2}));
  static_assert(row_stable<decltype(with_weights)>);
  CHECK(leaf_paths(with_weights.weights()) == std::vector<std::string>{"weight", "bias"});
  edit<float>(with_weights.weights().weight)[0] = 50;
  CHECK(data<float>(with_weights.inner().weights().weight)[0] == 50);
  const auto& read = with_weights;
  CHECK(&read.weights() == &read.inner().weights());
}
