// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

auto block(std::uint64_t seed) {
  return chain(linear<float>({.d_in = 4, .d_out = 4, .bias = true}, seed), journal<float>{4});
}
auto blocks(std::uint64_t n) {
  std::vector<decltype(block(0))> all;
  for (std::uint64_t i = 0; i < n; ++i) all.push_back(block(i));
  return all;
}

}  // namespace

TEST_CASE("a stack equals its blocks called one after the other") {
  for (std::uint64_t n = 1; n <= 4; ++n) {
    CAPTURE(n);
    const auto m = stack(blocks(n));
    CHECK(m.d_in() == 4);
    CHECK(m.d_out() == 4);
    const table<float> X(6, 4);
    table<float> expected = X;
    for (const auto& b : m.blocks()) expected = stepped(b, expected);
    state_t<decltype(m)> end;
    CHECK(stepped(m, X, &end) == expected);
    for (index_t rows : {1, 3, 256})
      for (index_t wanted : {0, 1, 4, 6}) {
        context ctx;
        ctx.block_rows = rows;
        auto s = m.init();
        table<float> Y(wanted, 4, 9);
        scan(m, ctx, s, X, Y);
        CHECK(Y.is_end_of(expected));
        CHECK(s == end);
      }
  }
}

TEST_CASE("blocks of a stack never read what they write") {  // linear writes while it still reads
  const std::vector<linear<float>> layers{linear<float>({.d_in = 9, .d_out = 9}, 1),
                                          linear<float>({.d_in = 9, .d_out = 9}, 2),
                                          linear<float>({.d_in = 9, .d_out = 9}, 3)};
  const auto m = stack(layers);
  const table<float> X(5, 9);
  table<float> expected = X;
  for (const auto& l : layers) expected = stepped(l, expected);
  CHECK(stepped(m, X) == expected);
  context ctx;
  auto s = m.init();
  table<float> Y(5, 9, 9);
  scan(m, ctx, s, X, Y);
  CHECK(Y == expected);
}

TEST_CASE("a stack scans lanes of any length") {
  const auto m = stack(blocks(3));
  using state = state_t<decltype(m)>;
  const table<float> X(9, 4);
  std::vector<state> states(3, m.init()), alone = states;
  const std::vector<lane<state>> lanes{{&states[0], 5, 1}, {&states[1], 0, 0}, {&states[2], 4, 4}};
  table<float> Y(5, 4, 9), expected = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  scan(m, ctx, alone[0], X.view().range(0, 5), expected.view().range(0, 1));
  scan(m, ctx, alone[2], X.view().range(5, 9), expected.view().range(1, 5));
  CHECK(Y == expected);
  CHECK(states == alone);
}

TEST_CASE("blocks of a stack keep one width") {
  using m = linear<float>;
  CHECK(error_text([] { stack(std::vector<leaky<float>>{}); }) == "stack: expected at least one block");
  CHECK(error_text([] { stack(std::vector<leaky<float>>{{3}, {4}}); }) ==
        "stack: block 1 maps rows of 4 to 4, expected 3 to 3");
  CHECK(error_text([] { stack(std::vector<m>{m({.d_in = 3, .d_out = 2})}); }) ==
        "stack: block 0 maps rows of 3 to 2, expected 3 to 3");
}

TEST_CASE("states and weights of a stack are visited by number") {
  auto m = stack(blocks(2));
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"0.1.rows", "0.1.segment", "1.1.rows", "1.1.segment"});
  auto w = m.weights();
  CHECK(leaf_paths(w) == std::vector<std::string>{"0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"});
  visit_fields(
      [](const field_path& at, weight& x) {
        if (at.text() == "1.0.bias") edit<float>(x)[2] = 30;
      },
      w);
  CHECK(data<float>(m.blocks()[1].part<0>().weights().bias)[2] == 30);
  CHECK(data<float>(m.blocks()[0].part<0>().weights().bias)[2] != 30);

  auto plain = stack(std::vector<linear<float>>(3, linear<float>({.d_in = 2, .d_out = 2})));
  auto plain_weights = plain.weights();
  CHECK(leaf_paths(plain_weights) ==
        std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"});
  const auto& read = plain;
  auto seen = read.weights();
  visit_fields([](const field_path&, const weight&) {}, seen);
  auto skipped = stack(std::vector{residual(linear<float>({.d_in = 2, .d_out = 2}))});
  auto skipped_weights = skipped.weights();
  CHECK(leaf_paths(skipped_weights) == std::vector<std::string>{"0.weight", "0.bias"});
}

TEST_CASE("a stack has the refinements of its blocks") {
  const auto m = stack(blocks(2));
  static_assert(Growing<decltype(m)>);
  static_assert(Segmented<decltype(m)>);
  static_assert(!Growing<stack_of<leaky<float>>>);
  static_assert(row_stable<stack_of<linear<float>>>);
  static_assert(!row_stable<stack_of<leaky<float>>>);
  auto s = m.init();
  CHECK(reserve(m, s, 5));
  for (const auto& item : s.items) CHECK(std::get<1>(item.parts).rows.capacity() == 20);
  context ctx;
  observe(m, ctx, s, table<float>(3, 4));
  end_segment(m, ctx, s);
  for (const auto& item : s.items) CHECK(std::get<1>(item.parts).segment == 3);

  CHECK(valid(m, s));
  std::get<1>(s.items[1].parts).segment = -1;
  CHECK_FALSE(valid(m, s));
  s.items.pop_back();
  CHECK_FALSE(valid(m, s));
}

TEST_CASE("a stack of one block is that block") {
  const auto m = stack(std::vector<leaky<float>>{{3}});
  const table<float> X(4, 3);
  CHECK(stepped(m, X) == stepped(leaky<float>{3}, X));
}
