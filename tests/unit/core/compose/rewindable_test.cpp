// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

constexpr rewindable_config three_nine{.snapshot_every = 3, .log_capacity = 9};
auto model() { return rewindable(leaky<float>{2}, three_nine); }
using model_t = decltype(model());

// Feeds rows [from, to) of X by steps.
template <class M>
void feed(const M& m, state_t<M>& s, const table<float>& X, index_t from, index_t to) {
  context ctx;
  std::vector<float> y(static_cast<std::size_t>(m.d_out()));
  for (index_t t = from; t < to; ++t) m.step(ctx, s, X.view()[t], y);
}

// A scan of several rows is off by a trifle, as chunked kernels are.
struct inexact : leaky<float> {
  explicit inexact(index_t n) : leaky<float>{n} {}
  void scan(context& ctx, state& s, mat_view<const float> X, mat_view<float> Y) const {
    steps(static_cast<const leaky<float>&>(*this), ctx, s, X, Y);
    if (X.rows() > 1) s.h[0] *= 1 + 1e-6f;
  }
};
// Evicts, and says so: the row before the last.
struct telling : leaky<float> {
  explicit telling(index_t n) : leaky<float>{n} {}
  void step(context& ctx, state& s, row_view<const float> x, row_view<float> y) const noexcept {
    if (ctx.on_eviction) ctx.on_eviction->evicted(ctx.on_eviction->self, {"telling", 0, 0, {}, {}});
    leaky<float>::step(ctx, s, x, y);
  }
};

}  // namespace

TEST_CASE("rewindable answers as the memory within") {
  const table<float> X(25, 2);
  const model_t m = model();
  state_t<model_t> end;
  const table<float> expected = stepped(leaky<float>{2}, X);
  CHECK(stepped(m, X, &end) == expected);
  for (index_t wanted : {0, 1, 14, 15, 16, 25}) {
    context ctx;
    auto s = m.init();
    table<float> Y(wanted, 2, 9);
    scan(m, ctx, s, X, Y);
    CHECK(Y.is_end_of(expected));
    CHECK(s == end);
  }
}

TEST_CASE("how far back it goes follows from the number of tokens") {
  const model_t m = model();
  const table<float> X(40, 2);
  auto s = m.init();
  for (index_t t = 0; t <= 40; ++t) {
    CHECK(m.mark(s) == t);
    const index_t by = m.rewindable_by(s);
    CHECK(by >= std::min<index_t>(t, 9 - 3 + 1));
    CHECK(by <= std::min<index_t>(t, 9));
    CHECK((t - by) % 3 == 0);
    if (t < 40) feed(m, s, X, t, t + 1);
  }
}

TEST_CASE("rewind restores every mark in reach and refuses the others") {
  const model_t m = model();
  const table<float> X(30, 2), other(30, 2, 8);
  context ctx;
  std::vector<state_t<model_t>> past{m.init()};
  for (index_t t = 0; t < 30; ++t) {
    past.push_back(past.back());
    feed(m, past.back(), X, t, t + 1);
    const auto& now = past.back();
    for (index_t mark = -1; mark <= t + 2; ++mark) {
      CAPTURE(t, mark);
      auto s = now;
      const bool within = mark <= t + 1 && t + 1 - mark <= m.rewindable_by(now);
      REQUIRE(m.rewind(ctx, s, mark) == within);
      if (!within) {
        CHECK(s == now);
        continue;
      }
      const auto& copy = past[static_cast<std::size_t>(mark)];
      CHECK(s.now == copy.now);
      CHECK(m.mark(s) == mark);
      CHECK(m.rewindable_by(s) == m.rewindable_by(now) - (t + 1 - mark));
      if (s.base == copy.base) CHECK(s == copy);  // and leaves no trace
      auto detour = s;
      feed(m, detour, other, 0, 11);
      feed(m, s, other, 0, 11);
      CHECK(detour == s);
      auto direct = copy;
      feed(m, direct, other, 0, 11);
      CHECK(direct == s);  // the reach is full again on both ways
    }
  }
}

TEST_CASE("one slot: snapshots take each other's place") {
  const auto m = rewindable(leaky<float>{2}, {.snapshot_every = 1, .log_capacity = 1});
  const table<float> X(4, 2);
  context ctx;
  auto s = m.init();
  for (index_t t = 0; t < 4; ++t) {
    const auto before = s;
    feed(m, s, X, t, t + 1);
    CHECK(m.rewindable_by(s) == 1);
    auto back = s;
    CHECK(m.rewind(ctx, back, t));
    CHECK(back.now == before.now);
    CHECK(m.rewindable_by(back) == 0);
    CHECK_FALSE(m.rewind(ctx, back, t - 1));
    feed(m, back, X, t, t + 1);
    CHECK(back == s);
  }
}

TEST_CASE("a memory whose scans round otherwise than its steps is rewound to the bit") {
  const auto m = rewindable(inexact(2), three_nine);
  const table<float> X(40, 2);
  const index_t cuts[] = {0,  2,  3,  5,  12, 13,
                          16, 31, 32, 36, 40};  // one scan each; whole stretches among them
  context ctx;
  table<float> Y(40, 2);
  std::vector<state_t<decltype(m)>> past{m.init()};
  for (std::size_t i = 0; i + 1 < std::size(cuts); ++i) {
    past.push_back(past.back());
    scan(m, ctx, past.back(), X.view().range(cuts[i], cuts[i + 1]), Y.view().range(cuts[i], cuts[i + 1]));
    for (std::size_t j = 0; j <= i; ++j) {
      auto s = past.back();
      if (m.rewind(ctx, s, cuts[j])) CHECK(s.now == past[j].now);
    }
  }
}

TEST_CASE("ends of segments are taken back too") {
  const auto m = rewindable(journal<float>{2}, three_nine);
  static_assert(Growing<decltype(m)> && Segmented<decltype(m)> && Readable<decltype(m)>);
  const table<float> X(12, 2);
  context ctx;
  auto s = m.init();
  CHECK(reserve(m, s, 20));
  feed(m, s, X, 0, 4);
  const auto before = s;
  m.end_segment(ctx, s);
  CHECK(m.mark(s) == 5);
  const auto after = s;
  feed(m, s, X, 4, 7);
  auto back = s;
  CHECK(m.rewind(ctx, back, m.mark(after)));
  CHECK(back == after);
  CHECK(m.rewind(ctx, back, m.mark(before)));
  CHECK(back == before);
  std::vector<float> y(2), z(2);
  read(m, ctx, s, X.view()[0], y);
  read(m.inner(), ctx, s.now, X.view()[0], z);
  CHECK(y == z);
}

TEST_CASE("replays are silent, lanes meet their own snapshots") {
  const auto m = rewindable(telling(2), three_nine);
  const table<float> X(8, 2);
  int told = 0;
  const eviction_observer count{[](void* self, const eviction&) { ++*static_cast<int*>(self); }, &told};
  context ctx;
  ctx.on_eviction = &count;
  auto s = m.init();
  table<float> Y(8, 2);
  scan(m, ctx, s, X, Y);
  CHECK(told == 8);
  CHECK(m.rewind(ctx, s, 5));
  CHECK(told == 8);
  CHECK(ctx.on_eviction == &count);

  const auto stable = rewindable(linear<float>({.d_in = 2, .d_out = 3}, 1), three_nine);
  using state = state_t<decltype(stable)>;
  for (const std::vector<index_t>& fed : {std::vector<index_t>{1, 4, 2}, {3, 4, 2}}) {  // one batch; or not
    std::vector<state> states(3, stable.init()), alone = states;
    std::vector<lane<state>> lanes;
    index_t row = 0;
    table<float> out(8, 3, 9), expected = out;
    for (std::size_t i = 0; i < 3; ++i) {
      observe(stable, ctx, states[i], X.view().first(fed[i]));
      alone[i] = states[i];
      const index_t rows = i == 1 ? 2 : 1;
      lanes.push_back({&states[i], rows, rows});
      scan(stable, ctx, alone[i], X.view().range(row, row + rows), expected.view().range(row, row + rows));
      row += rows;
    }
    lanes.push_back({&states[0], 0, 0});
    scan_many(stable, ctx, std::span(std::as_const(lanes)), X.view().first(row), out.view().first(row));
    CHECK(out == expected);
    CHECK(states == alone);
  }
}

TEST_CASE("state, weights, tokens and errors of rewindable") {
  const model_t m = model();
  auto s = m.init();
  static_assert(CompleteFields<state_t<model_t>> && Rewindable<model_t>);
  static_assert(!Growing<model_t> && !Segmented<model_t> && !Readable<model_t>);
  CHECK(leaf_paths(s) == std::vector<std::string>{"now.h", "snapshots.0.h", "snapshots.1.h", "snapshots.2.h",
                                                  "log", "ends", "position", "base"});
  feed(m, s, table<float>(20, 2), 0, 20);
  CHECK(valid(m, s));
  for (const auto spoil :
       {+[](state_t<model_t>& x) { x.position = x.base + 10; }, +[](state_t<model_t>& x) { x.base -= 1; },
        +[](state_t<model_t>& x) { x.base = -3; }, +[](state_t<model_t>& x) { x.position = x.base - 1; },
        +[](state_t<model_t>& x) { x.log.resize(17); }, +[](state_t<model_t>& x) { x.ends.resize(1); },
        +[](state_t<model_t>& x) { x.snapshots.items.pop_back(); },
        +[](state_t<model_t>& x) { x.snapshots.items[1].h.resize(1); },
        +[](state_t<model_t>& x) { x.now.h.resize(1); }}) {
    auto bad = s;
    spoil(bad);
    CHECK_FALSE(valid(m, bad));
  }

  const auto words = rewindable(embedding<float>({.vocabulary = 5, .d_model = 3}, 1), three_nine);
  static_assert(std::same_as<input_t<decltype(words)>, token_id> && row_stable<decltype(words)>);
  CHECK(words.vocabulary() == 5);
  CHECK(leaf_paths(words.weights()) == std::vector<std::string>{"weight"});

  for (const rewindable_config& c : {rewindable_config{0, 9}, {3, 0}, {3, 10}, {-1, 9}})
    CHECK(error_text([&] { rewindable(leaky<float>{2}, c); }).starts_with("rewindable: snapshot_every is "));
  CHECK(
      error_text([] { rewindable(leaky<float>{2}, {.snapshot_every = 3, .log_capacity = 10}); }) ==
      "rewindable: snapshot_every is 3, log_capacity is 10, expected a positive number and a multiple of it");
  static_assert(std::same_as<decltype(rewindable(model())), rewindable_of<model_t>>);
}
