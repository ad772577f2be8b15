// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/compose/chain.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"
#include "laws/counting_resource.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

auto mixed_chain() {  // rows of 3 to rows of 2
  return chain(linear<float>({.d_in = 3, .d_out = 5}, 1), leaky<float>{5}, journal<float>{5},
               linear<float>({.d_in = 5, .d_out = 2, .bias = true}, 2));
}
using mixed_chain_t = decltype(mixed_chain());

}  // namespace

TEST_CASE("a chain equals its parts called one after the other") {
  const mixed_chain_t m = mixed_chain();
  CHECK(m.d_in() == 3);
  CHECK(m.d_out() == 2);
  const table<float> X(7, 3);
  context ctx;
  table<float> expected(7, 2);
  auto leak = m.part<1>().init();
  auto diary = m.part<2>().init();
  nothing none;
  for (index_t t = 0; t < 7; ++t) {
    std::vector<float> a(5), b(5), c(5);
    m.part<0>().step(ctx, none, X.view()[t], a);
    m.part<1>().step(ctx, leak, a, b);
    m.part<2>().step(ctx, diary, b, c);
    m.part<3>().step(ctx, none, c, expected.view()[t]);
  }
  state_t<mixed_chain_t> end;
  CHECK(stepped(m, X, &end) == expected);
  CHECK(std::get<1>(end.parts) == leak);
  CHECK(std::get<2>(end.parts) == diary);

  table<float> Y(7, 2, 9);
  auto s = m.init();
  scan(m, ctx, s, X, Y);
  CHECK(Y == expected);
  CHECK(s == end);
}

TEST_CASE("a chain gives the last rows in blocks of any size") {
  const mixed_chain_t m = mixed_chain();
  const index_t T = 10;
  const table<float> X(T, 3, 4);
  state_t<mixed_chain_t> end;
  const table<float> expected = stepped(m, X, &end);
  for (index_t rows : {1, 3, 9, 10, 11, 256})
    for (index_t wanted = 0; wanted <= T; ++wanted) {
      CAPTURE(rows, wanted);
      context ctx;
      ctx.block_rows = rows;
      auto s = m.init();
      table<float> Y(wanted, 2, 9);
      scan(m, ctx, s, X, Y);
      CHECK(Y.is_end_of(expected));
      CHECK(s == end);
    }
}

TEST_CASE("blocks of rows share out the outputs that are wanted") {
  const table<float> X(10, 1);
  table<float> Y(4, 1);
  std::vector<std::pair<index_t, index_t>> sizes;  // rows in, rows out
  const float* next = Y.all.data();
  for_row_blocks(3, X.view(), Y.view(), [&](auto x, auto y) {
    sizes.push_back({x.rows(), y.rows()});
    CHECK(y.data() == next);
    next += y.rows();
  });
  CHECK(sizes == std::vector<std::pair<index_t, index_t>>{{3, 0}, {3, 0}, {3, 3}, {1, 1}});
}

TEST_CASE("a chain scans lanes of any length") {
  const mixed_chain_t m = mixed_chain();
  struct stretch {
    index_t rows, outs;
  };
  const std::vector<stretch> lengths{{4, 4}, {0, 0}, {5, 1}, {1, 0}, {3, 2}};
  const table<float> X(13, 3, 6);
  std::vector<state_t<mixed_chain_t>> together(lengths.size(), m.init()), alone = together;
  std::vector<lane<state_t<mixed_chain_t>>> lanes;
  table<float> Y(7, 2, 9), expected = Y;
  context ctx;
  index_t x = 0, y = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const auto [rows, outs] = lengths[i];
    lanes.push_back({&together[i], rows, outs});
    scan(m, ctx, alone[i], X.view().range(x, x + rows), expected.view().range(y, y + outs));
    x += rows;
    y += outs;
  }
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  CHECK(Y == expected);
  for (std::size_t i = 0; i < lengths.size(); ++i) CHECK(together[i] == alone[i]);
}

TEST_CASE("parts of a chain fit together") {
  CHECK(error_text([] { chain(leaky<float>{4}, leaky<float>{4}, leaky<float>{3}); }) ==
        "chain: part 1 gives rows of 4, part 2 takes 3");
}

TEST_CASE("states of chains are visited by number") {
  const auto m = chain(leaky<float>{2}, chain(leaky<float>{2}, journal<float>{2}));
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"0.h", "1.0.h", "1.1.rows", "1.1.segment"});
  using eleven = group<float, float, float, float, float, float, float, float, float, float, float>;
  eleven g{};
  CHECK(leaf_paths(g)[10] == "10");
  static_assert(CompleteFields<eleven>);
}

TEST_CASE("a chain of one part is that part and a chain of a chain is two chains") {
  const auto one = chain(leaky<float>{3});
  const table<float> X(5, 3);
  CHECK(stepped(one, X) == stepped(leaky<float>{3}, X));
  auto inner_state = one.init();
  CHECK(leaf_paths(inner_state) == std::vector<std::string>{"0.h"});
  auto state_of_two = chain(one).init();
  CHECK(leaf_paths(state_of_two) == std::vector<std::string>{"0.0.h"});
  context ctx;
  table<float> Y(5, 3, 9);
  scan(chain(one), ctx, state_of_two, X, Y);
  CHECK(Y == stepped(one, X));
}

TEST_CASE("weights of a chain are those of its parts") {
  mixed_chain_t m = mixed_chain();
  auto all = m.weights();
  CHECK(leaf_paths(all) == std::vector<std::string>{"0.weight", "0.bias", "3.weight", "3.bias"});
  visit_fields(
      [](const field_path& at, weight& w) {
        if (at.text() == "3.bias") edit<float>(w)[1] = 100;
      },
      all);
  const mixed_chain_t& read = m;
  CHECK(data<float>(read.part<3>().weights().bias)[1] == 100);
  auto seen = read.weights();
  visit_fields([](const field_path&, const weight&) {}, seen);
  CHECK(stepped(m, table<float>(1, 3)).all[1] > 90);
}

TEST_CASE("a chain has the refinements of its parts") {
  const mixed_chain_t m = mixed_chain();
  static_assert(Growing<mixed_chain_t>);
  static_assert(Segmented<mixed_chain_t>);
  static_assert(!Growing<chain_of<leaky<float>>>);
  static_assert(!Segmented<chain_of<leaky<float>>>);
  static_assert(row_stable<chain_of<linear<float>, linear<float>>>);
  static_assert(!row_stable<mixed_chain_t>);

  auto s = m.init();
  CHECK(reserve(m, s, 6));
  CHECK(std::get<2>(s.parts).rows.capacity() == 30);
  context ctx;
  table<float> Y(2, 2), after(1, 2);
  scan(m, ctx, s, table<float>(2, 3), Y);
  end_segment(m, ctx, s);
  CHECK(std::get<2>(s.parts).segment == 2);

  CHECK(valid(m, s));
  std::get<2>(s.parts).segment = 3;
  CHECK_FALSE(valid(m, s));
  s = m.init();
  std::get<1>(s.parts).h.resize(4);
  CHECK_FALSE(valid(m, s));
}

TEST_CASE("a chain that starts with an embedding reads tokens") {
  const auto m = chain(embedding<float>({.vocabulary = 5, .d_model = 3}, 1), leaky<float>{3});
  static_assert(std::is_same_v<input_t<decltype(m)>, token_id>);
  CHECK(m.vocabulary() == 5);
  CHECK(m.d_in() == 1);
  std::vector<token_id> ids{3, 0, 4, 3};
  table<float> rows(4, 3), Y(4, 3);
  for (index_t t = 0; t < 4; ++t)
    std::copy_n(data<float>(m.part<0>().weights().weight) + ids[static_cast<std::size_t>(t)] * 3, 3,
                rows.view()[t].begin());
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, mat_view<const token_id>(ids.data(), 4, 1), Y);
  CHECK(Y == stepped(leaky<float>{3}, rows));
}

TEST_CASE("a state of a chain lives where it was asked to") {
  mneme_test::counting_resource where;
  const auto s = chain(leaky<float>{2}, leaky<float>{2}).init({&where});
  CHECK(where.allocations == 2);
  const auto copy = s;
  CHECK(where.allocations == 4);
}
