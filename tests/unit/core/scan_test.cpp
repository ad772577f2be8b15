// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/row_wise.hpp>
#include <mneme/core/scan.hpp>

#include "catch.hpp"
#include "sample_memories.hpp"

#include <array>

using namespace mneme;
using namespace mneme_test;

namespace {

// A stateless layer: y = -x. Counts the rows that it maps.
struct negate : row_wise<negate, float> {
  int* mapped;
  explicit negate(int* count) : mapped(count) {}
  index_t d_in() const { return 2; }
  index_t d_out() const { return 2; }
  void map(context&, mat_view<const float> X, mat_view<float> Y) const noexcept {
    *mapped += static_cast<int>(X.rows());
    for (index_t r = 0; r < X.rows(); ++r)
      for (index_t i = 0; i < 2; ++i) Y[r][i] = -X[r][i];
  }
};
// Tells every step to the observer of the context.
struct noisy : leaky<float> {
  explicit noisy(index_t width) : leaky<float>{width} {}
  void step(context& ctx, state& s, row_view<const float> x, row_view<float> y) const noexcept {
    context::frame scratch(ctx);
    scratch.row<float>(100000)[0] = 1;
    if (ctx.on_eviction) ctx.on_eviction->evicted(ctx.on_eviction->self, {"noise", 0, 0, {}, {}});
    leaky<float>::step(ctx, s, x, y);
  }
};

}  // namespace

TEST_CASE("a memory with nothing but step is scanned token by token") {
  const leaky<float> m{3};
  static_assert(Memory<leaky<float>>);
  static_assert(!Scannable<leaky<float>>);
  static_assert(!Batched<leaky<float>>);
  const table<float> X(6, 3);
  leaky<float>::state end;
  const table<float> expected = stepped(m, X, &end);
  context ctx;
  for (index_t wanted = 0; wanted <= 6; ++wanted) {
    auto s = m.init();
    table<float> Y(wanted, 3, 9);
    scan(m, ctx, s, X, Y);
    CHECK(Y.is_end_of(expected));
    CHECK(s == end);
  }
  auto s = m.init();
  observe(m, ctx, s, X);
  CHECK(s == end);
  observe(m, ctx, s, X.view().first(0));
  CHECK(s == end);
  auto single = m.init();
  table<float> y(1, 3);
  step(m, ctx, single, X.view()[0], y.view()[0]);
  CHECK(std::equal(y.all.begin(), y.all.end(), expected.all.begin()));
}

TEST_CASE("what step and scan assert of rows") {
  const leaky<float> m{3};
  const row_view<float> none, x(nullptr, 3), wide(nullptr, 4);
  CHECK(detail::row_fits(m, x, x));
  CHECK(!detail::row_fits(m, wide, x));
  CHECK(!detail::row_fits(m, x, wide));
  CHECK(!detail::row_fits(m, x, none));
  const auto rows = [](index_t n, index_t width) { return mat_view<float>(nullptr, n, width); };
  CHECK(detail::rows_fit(m, rows(2, 3), rows(2, 3)));
  CHECK(detail::rows_fit(m, rows(2, 3), rows(0, 0)));
  CHECK(detail::rows_fit(m, rows(0, 0), rows(0, 0)));
  CHECK(!detail::rows_fit(m, rows(2, 4), rows(2, 3)));
  CHECK(!detail::rows_fit(m, rows(2, 3), rows(1, 2)));
  CHECK(!detail::rows_fit(m, rows(2, 3), rows(3, 3)));
  using one = lane<leaky<float>::state>;
  const auto lanes = [](index_t rows_of_second, index_t outs) {
    return std::array{one{nullptr, 2, 1}, one{nullptr, rows_of_second, outs}};
  };
  CHECK(detail::lanes_fit(m, lanes(1, 1), rows(3, 3), rows(2, 3)));
  CHECK(!detail::lanes_fit(m, lanes(2, 1), rows(3, 3), rows(2, 3)));
  CHECK(!detail::lanes_fit(m, lanes(1, 0), rows(3, 3), rows(2, 3)));
  CHECK(!detail::lanes_fit(m, lanes(1, 2), rows(3, 3), rows(3, 3)));
  CHECK(!detail::lanes_fit(m, lanes(1, 1), rows(3, 3), rows(2, 4)));
}

TEST_CASE("lanes of a memory with nothing but step") {
  const leaky<float> m{2};
  const table<float> X(5, 2);
  std::vector<leaky<float>::state> states(2, m.init());
  const std::vector<lane<leaky<float>::state>> lanes{{&states[0], 2, 1}, {&states[1], 3, 2}};
  table<float> Y(3, 2, 9), expected = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  auto a = m.init(), b = m.init();
  scan(m, ctx, a, X.view().range(0, 2), expected.view().range(0, 1));
  scan(m, ctx, b, X.view().range(2, 5), expected.view().range(1, 3));
  CHECK(Y == expected);
  CHECK(states[0] == a);
  CHECK(states[1] == b);
}

TEST_CASE("functions that ask for a refinement do nothing where there is none") {
  const leaky<float> m{2};
  auto s = m.init();
  context ctx;
  CHECK(reserve(m, s, 1000));
  end_segment(m, ctx, s);
  CHECK(s == m.init());
  const journal<float> j{2};
  auto t = j.init();
  table<float> Y(2, 2), y(1, 2);
  scan(j, ctx, t, table<float>(2, 2), Y);
  read(j, ctx, std::as_const(t), Y.view()[0], y.view()[0]);
  CHECK(y.is_end_of(Y));
}

TEST_CASE("a state is valid if its buffers have the sizes of init") {
  const leaky<float> m{3};
  auto s = m.init();
  CHECK(valid(m, s));
  s.h.resize(4);
  CHECK_FALSE(valid(m, s));
  CHECK_FALSE(valid(m, leaky<float>::state()));
  const journal<float> j{2};
  CHECK(valid(j, journal<float>::state{buffer<float>(8), 4}));
  CHECK_FALSE(valid(j, journal<float>::state{buffer<float>(8), 5}));
}

TEST_CASE("prepare sizes the context and tells nobody") {
  int told = 0;
  const eviction_observer observer{[](void* self, const eviction&) { ++*static_cast<int*>(self); }, &told};
  const noisy m(4);
  context ctx(64);
  ctx.on_eviction = &observer;
  prepare(m, ctx, 3);
  CHECK(told == 0);
  CHECK(ctx.on_eviction == &observer);
  const std::size_t held = ctx.scratch_bytes();
  auto s = m.init();
  table<float> Y(3, 4);
  scan(m, ctx, s, table<float>(3, 4), Y);
  CHECK(told == 3);
  CHECK(ctx.scratch_bytes() == held);
  prepare(m, ctx, 0);
  CHECK(told == 3);
}

TEST_CASE("a row-wise layer maps only rows that are wanted") {
  int mapped = 0;
  const negate m(&mapped);
  static_assert(Scannable<negate>);
  static_assert(Batched<negate>);
  const table<float> X(6, 2);
  context ctx;
  nothing s;
  table<float> Y(2, 2), y(1, 2);
  scan(m, ctx, s, X, Y);
  CHECK(mapped == 2);
  CHECK(Y.view()[1][1] == -X.view()[5][1]);
  observe(m, ctx, s, X);
  CHECK(mapped == 2);
  step(m, ctx, s, X.view()[3], y.view()[0]);
  CHECK(y.view()[0][0] == -X.view()[3][0]);

  std::vector<nothing> states(3);
  std::vector<lane<nothing>> lanes{{&states[0], 3, 1}, {&states[1], 1, 0}, {&states[2], 2, 2}};
  table<float> Z(3, 2, 9);
  mapped = 0;
  scan_many(m, ctx, std::span<const lane<nothing>>(lanes), X, Z);
  CHECK(mapped == 3);
  const index_t from[] = {2, 4, 5};
  for (index_t i = 0; i < 3; ++i) CHECK(Z.view()[i][1] == -X.view()[from[i]][1]);

  lanes = {{&states[0], 3, 0}, {&states[1], 3, 0}};
  scan_many(m, ctx, std::span<const lane<nothing>>(lanes), X, mat_view<float>(nullptr, 0, 2));
  CHECK(mapped == 3);
  scan_many(m, ctx, std::span<const lane<nothing>>(), X.view().first(0), mat_view<float>(nullptr, 0, 2));
  CHECK(mapped == 3);
}
