// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

const linear<float> wide({.d_in = 3, .d_out = 5}, 1);
auto summed() { return parallel(leaky<float>{3}, journal<float>{3}, leaky<float>{3}); }
auto beside() { return parallel<join::concat>(leaky<float>{3}, wide, journal<float>{3}); }

// Scans in blocks and with some rows unread equal `expected`.
template <class M>
void check_scans(const M& m, const table<float>& X, const table<float>& expected, const state_t<M>& end) {
  for (index_t rows : {1, 3, 256})
    for (index_t wanted : {index_t{0}, index_t{1}, X.rows}) {
      CAPTURE(rows, wanted);
      context ctx;
      ctx.block_rows = rows;
      auto s = m.init();
      table<float> Y(wanted, m.d_out(), 9);
      scan(m, ctx, s, X, Y);
      CHECK(Y.is_end_of(expected));
      CHECK(s == end);
    }
}

}  // namespace

TEST_CASE("parallel adds what its parts answer to the same rows") {
  const auto m = summed();
  CHECK(m.d_in() == 3);
  CHECK(m.d_out() == 3);
  const table<float> X(7, 3);
  const table<float> a = stepped(m.part<0>(), X), b = stepped(m.part<1>(), X);
  table<float> expected = a;
  for (std::size_t i = 0; i < a.all.size(); ++i) expected.all[i] = (a.all[i] + b.all[i]) + a.all[i];
  state_t<decltype(m)> end;
  CHECK(stepped(m, X, &end) == expected);
  check_scans(m, X, expected, end);
}

TEST_CASE("parallel<join::concat> puts them side by side") {
  const auto m = beside();
  CHECK(m.d_in() == 3);
  CHECK(m.d_out() == 11);
  const table<float> X(6, 3);
  table<float> expected(6, 11);
  const auto put = [&](index_t from, const table<float>& part) {
    for (index_t t = 0; t < 6; ++t)
      std::copy_n(part.view()[t].begin(), part.cols, expected.view()[t].begin() + from);
  };
  put(0, stepped(leaky<float>{3}, X));
  put(3, stepped(wide, X));
  put(8, stepped(journal<float>{3}, X));
  state_t<decltype(m)> end;
  CHECK(stepped(m, X, &end) == expected);
  check_scans(m, X, expected, end);
}

TEST_CASE("parallel of one part is that part") {
  const table<float> X(4, 3);
  CHECK(stepped(parallel(leaky<float>{3}), X) == stepped(leaky<float>{3}, X));
  CHECK(stepped(parallel<join::concat>(leaky<float>{3}), X) == stepped(leaky<float>{3}, X));
}

TEST_CASE("parallel scans lanes of which only some outputs are wanted") {
  const auto check = [](const auto& m) {
    using state = state_t<std::remove_cvref_t<decltype(m)>>;
    const table<float> X(9, 3);
    std::vector<state> states(3, m.init()), alone = states;
    const std::vector<lane<state>> lanes{{&states[0], 4, 2}, {&states[1], 3, 3}, {&states[2], 2, 0}};
    table<float> Y(5, m.d_out(), 9), expected = Y;
    context ctx;
    scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
    scan(m, ctx, alone[0], X.view().range(0, 4), expected.view().range(0, 2));
    scan(m, ctx, alone[1], X.view().range(4, 7), expected.view().range(2, 5));
    observe(m, ctx, alone[2], X.view().range(7, 9));
    CHECK(Y == expected);
    CHECK(states == alone);
  };
  check(summed());
  check(beside());
}

TEST_CASE("parts of parallel fit together") {
  CHECK(error_text([] { parallel(leaky<float>{3}, leaky<float>{4}); }) ==
        "parallel: part 1 takes rows of 4, part 0 takes 3");
  CHECK(error_text([] { parallel(leaky<float>{3}, wide); }) ==
        "parallel: part 1 gives rows of 5, part 0 gives 3");
  CHECK(error_text([] { parallel<join::concat>(leaky<float>{3}, wide); }) == "no error");
}

TEST_CASE("parallel reads tokens if all parts do") {
  using words = embedding<float>;
  const auto m =
      parallel(words({.vocabulary = 5, .d_model = 3}, 1), words({.vocabulary = 5, .d_model = 3}, 2));
  static_assert(std::same_as<input_t<decltype(m)>, token_id>);
  CHECK(m.vocabulary() == 5);
  std::vector<token_id> ids{3, 0};
  table<float> Y(2, 3);
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, mat_view<const token_id>(ids.data(), 2, 1), Y);
  const float* a = data<float>(m.part<0>().weights().weight);
  const float* b = data<float>(m.part<1>().weights().weight);
  CHECK(Y.all[1] == a[3 * 3 + 1] + b[3 * 3 + 1]);
}

TEST_CASE("refinements, states and weights of parallel are those of its parts") {
  auto m = beside();
  static_assert(Growing<decltype(m)> && Segmented<decltype(m)>);
  static_assert(!Growing<decltype(parallel(wide))> && !Segmented<decltype(parallel(wide))>);
  static_assert(row_stable<decltype(parallel(wide, wide))> && !row_stable<decltype(m)>);
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"0.h", "2.rows", "2.segment"});
  CHECK(reserve(m, s, 4));
  CHECK(std::get<2>(s.parts).rows.capacity() == 12);
  context ctx;
  observe(m, ctx, s, table<float>(2, 3));
  end_segment(m, ctx, s);
  CHECK(std::get<2>(s.parts).segment == 2);
  CHECK(valid(m, s));
  std::get<2>(s.parts).segment = 3;
  CHECK_FALSE(valid(m, s));

  auto w = m.weights();
  CHECK(leaf_paths(w) == std::vector<std::string>{"1.weight", "1.bias"});
  visit_fields(
      [](const field_path& at, weight& x) {
        if (at.text() == "1.weight") edit<float>(x)[0] = 50;
      },
      w);
  CHECK(data<float>(m.part<1>().weights().weight)[0] == 50);
}
