// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/windowed.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

constexpr index_t width = 3;
template <recall How = recall::leaving>
auto model(windowed_config c) {
  return windowed<How>(c, leaky<float>{width}, journal<float>{width});
}

std::vector<float> rows_of(const buffer<float>& b) { return {b.begin(), b.end()}; }

}  // namespace

TEST_CASE("every token is a sink, in the window or has gone to the longer memory, once and in order") {
  const table<float> X(23, width);
  for (const index_t window : {1, 2, 5, 22, 23, 30})
    for (const index_t sinks : {0, 1, 4})
      for (const index_t piece : {1, 2, 7, 23}) {
        CAPTURE(window, sinks, piece);
        const auto m = model({.window = window, .sinks = sinks});
        context ctx;
        auto s = m.init();
        for (index_t t = 0; t < 23; t += piece) {
          const index_t seen = std::min<index_t>(t + piece, 23);
          observe(m, ctx, s, X.view().range(t, seen));
          CHECK(s.seen == seen);
          const index_t first = std::min(sinks, std::max<index_t>(seen - window, 0)),
                        gone = std::max<index_t>(seen - window - first, 0);
          const auto* from = X.all.data() + first * width;
          CHECK(rows_of(s.far.rows) == std::vector<float>(from, from + gone * width));
          for (index_t p = std::max<index_t>(seen - window, 0); p < seen; ++p)
            CHECK(std::equal(X.view()[p].begin(), X.view()[p].end(), s.rows.data() + p % window * width));
        }
      }
}

TEST_CASE("answers of the longer memory are added from the first row that leaves") {
  const table<float> X(12, width);
  const windowed_config c{.window = 4, .sinks = 1, .far_scale = 0.5};
  const table<float> near = stepped(leaky<float>{width}, X);
  const auto by_leaving = model(c);
  const auto by_newest = model<recall::newest>(c);
  table<float> leaving = near, newest = near;
  context ctx;
  auto far = journal<float>{width}.init();
  std::vector<float> y(width);
  for (index_t t = 5; t < 12; ++t) {
    journal<float>{width}.step(ctx, far, X.view()[t - 4], y);
    for (index_t i = 0; i < width; ++i) leaving.view()[t][i] += 0.5f * y[static_cast<std::size_t>(i)];
    journal<float>{width}.read(ctx, far, X.view()[t], y);
    for (index_t i = 0; i < width; ++i) newest.view()[t][i] += 0.5f * y[static_cast<std::size_t>(i)];
  }
  CHECK(std::equal(near.all.begin(), near.all.begin() + 5 * width, leaving.all.begin()));
  const auto check = [&](const auto& m, const table<float>& expected) {
    state_t<std::remove_cvref_t<decltype(m)>> end;
    CHECK(stepped(m, X, &end) == expected);
    CHECK(end.far == far);
    for (index_t rows : {1, 3, 256})
      for (index_t wanted : {0, 1, 6, 12}) {
        context blocks;
        blocks.block_rows = rows;
        auto s = m.init();
        table<float> Y(wanted, width, 9);
        scan(m, blocks, s, X, Y);
        CHECK(Y.is_end_of(expected));
        CHECK(s == end);
      }
  };
  check(by_leaving, leaving);
  check(by_newest, newest);
}

TEST_CASE("a gate says how much of the longer memory counts, for all channels, groups of them or each") {
  const table<double> X(12, 6);
  const leaky<double> part{6};
  const table<double> near = stepped(part, X);
  for (const index_t numbers : {1, 2, 3, 6}) {
    CAPTURE(numbers);
    const linear<double> gate({.d_in = 6, .d_out = numbers, .bias = true}, 7);
    const auto &W = gate.weights().weight, &b = gate.weights().bias;
    const auto open = [&](index_t t, index_t i) {  // of channel i
      const index_t row = i / (6 / numbers);
      double sum = static_cast<double>(data<float>(b)[row]);
      for (index_t c = 0; c < 6; ++c)
        sum += static_cast<double>(data<float>(W)[row * 6 + c]) * X.view()[t][c];
      return 0.5 / (1 + std::exp(-sum));
    };
    const windowed_config c{.window = 4, .sinks = 1, .far_scale = 0.5};
    const auto by_leaving = windowed(c, part, part, gate);
    const auto by_newest = windowed<recall::newest>(c, part, journal<double>{6}, gate);
    table<double> leaving = near, newest = near;
    context ctx;
    auto written = part.init();
    auto far = journal<double>{6}.init();
    std::vector<double> y(6);
    for (index_t t = 5; t < 12; ++t) {
      part.step(ctx, written, X.view()[t - 4], y);
      for (index_t i = 0; i < 6; ++i) leaving.view()[t][i] += open(t, i) * y[static_cast<std::size_t>(i)];
      journal<double>{6}.step(ctx, far, X.view()[t - 4], y);
      for (index_t i = 0; i < 6; ++i) newest.view()[t][i] += open(t, i) * y[static_cast<std::size_t>(i)];
    }
    const auto check = [&](const auto& m, const table<double>& expected) {
      const table<double> Y = stepped(m, X);
      for (std::size_t i = 0; i < Y.all.size(); ++i) CHECK(std::abs(Y.all[i] - expected.all[i]) <= 1e-14);
      CHECK(std::equal(near.all.begin(), near.all.begin() + 5 * 6, Y.all.begin()));
      for (const index_t wanted : {0, 6, 12}) {
        auto s = m.init();
        table<double> end(wanted, 6, 9);
        scan(m, ctx, s, X, end);
        CHECK(end.is_end_of(Y));
      }
    };
    check(by_leaving, leaving);
    check(by_newest, newest);
  }
}

TEST_CASE("a gate with a past sees every token") {
  const auto m = windowed({.window = 2}, leaky<float>{width}, leaky<float>{width}, journal<float>{width});
  static_assert(Growing<decltype(m)> && Segmented<decltype(m)> && !row_stable<decltype(m)>);
  const table<float> X(7, width);
  state_t<std::remove_cvref_t<decltype(m)>> s;
  stepped(m, X, &s);
  CHECK(rows_of(s.gate.rows) == X.all);
  context ctx;
  end_segment(m, ctx, s);
  CHECK(s.gate.segment == 7);
  CHECK(valid(m, s));
  s.gate.segment = 8;
  CHECK_FALSE(valid(m, s));
}

TEST_CASE("the longer memory is read with the newest row") {
  struct asked : leaky<float> {  // answers a read with the query itself
    explicit asked(index_t n) : leaky<float>{n} {}
    void read(context&, const state& s, row_view<const float> q, row_view<float> y) const {
      for (index_t i = 0; i < width; ++i) y[i] = q[i] + s.h[i];
    }
  };
  const auto m = windowed<recall::newest>({.window = 2}, leaky<float>{width}, asked(width));
  const table<float> X(3, width);
  const table<float> near = stepped(leaky<float>{width}, X), Y = stepped(m, X);
  for (index_t i = 0; i < width; ++i)
    CHECK(Y.view()[2][i] == near.view()[2][i] + (X.view()[2][i] + X.view()[0][i]));
}

TEST_CASE("up to W + n tokens, and with a scale of zero, the window answers alone", "[L20]") {
  const table<float> X(12, width);
  const table<float> near = stepped(leaky<float>{width}, X);
  CHECK(stepped(model({.window = 9, .sinks = 3}), X) == near);
  CHECK(stepped(model({.window = 12}), X) == near);
  CHECK_FALSE(stepped(model({.window = 11}), X) == near);
  CHECK(stepped(model({.window = 1, .far_scale = 0}), X) == near);
  CHECK(stepped(model<recall::newest>({.window = 1, .far_scale = 0}), X) == near);
}

TEST_CASE("a window scans lanes of any length") {
  const auto m = model({.window = 3});
  using state = state_t<decltype(m)>;
  const table<float> X(12, width);
  std::vector<state> states(3, m.init()), alone = states;
  const std::vector<lane<state>> lanes{{&states[0], 7, 2}, {&states[1], 1, 1}, {&states[2], 4, 4}};
  table<float> Y(7, width, 9), expected = Y;
  context ctx;
  scan_many(m, ctx, std::span(lanes.data(), lanes.size()), X, Y);
  scan(m, ctx, alone[0], X.view().range(0, 7), expected.view().range(0, 2));
  scan(m, ctx, alone[1], X.view().range(7, 8), expected.view().range(2, 3));
  scan(m, ctx, alone[2], X.view().range(8, 12), expected.view().range(3, 7));
  CHECK(Y == expected);
  CHECK(states == alone);
}

TEST_CASE("near and far fit together") {
  CHECK(error_text([] { model({.window = 0}); }) ==
        "windowed: window is 0, sinks is 0, expected at least 1 and 0");
  CHECK(error_text([] { model({.sinks = -1}); }) ==
        "windowed: window is 1, sinks is -1, expected at least 1 and 0");
  CHECK(error_text([] { windowed({}, leaky<float>{3}, leaky<float>{4}); }) ==
        "windowed: near maps rows of 3 to 3, far rows of 4 to 4");
  using any = any_memory<float>;
  CHECK(error_text([] { windowed<recall::newest>({}, leaky<float>{3}, any(leaky<float>{3})); }) ==
        "windowed: the longer memory is not readable");
  CHECK(error_text([] { windowed<recall::newest>({}, leaky<float>{3}, any(journal<float>{3})); }) ==
        "no error");
  const auto gated_by = [](index_t from, index_t to) {
    return error_text([&] {
      windowed({}, leaky<float>{6}, leaky<float>{6}, any(linear<float>({.d_in = from, .d_out = to})));
    });
  };
  CHECK(gated_by(6, 4) == "windowed: the gate maps rows of 6 to 4, expected 6 to a divisor of 6");
  CHECK(gated_by(5, 3) == "windowed: the gate maps rows of 5 to 3, expected 6 to a divisor of 6");
  CHECK(gated_by(6, 3) == "no error");
}

TEST_CASE("state, weights, tokens and refinements of a window") {
  auto m = windowed({.window = 2}, linear<float>({.d_in = width, .d_out = width}, 1), journal<float>{width});
  static_assert(Growing<decltype(m)> && Segmented<decltype(m)> && CompleteFields<state_t<decltype(m)>>);
  using fixed = decltype(windowed({}, leaky<float>{width}, leaky<float>{width}));
  static_assert(!Growing<fixed> && !Segmented<fixed> && !row_stable<fixed>);
  auto s = m.init();
  CHECK(leaf_paths(s) == std::vector<std::string>{"far.rows", "far.segment", "rows", "seen"});
  CHECK(reserve(m, s, 4));
  CHECK(s.far.rows.capacity() == 12);
  context ctx;
  observe(m, ctx, s, table<float>(5, width));
  end_segment(m, ctx, s);
  CHECK(s.far.segment == 3);
  CHECK(valid(m, s));
  auto bad = s;
  bad.rows.resize(2);
  CHECK_FALSE(valid(m, bad));
  bad = s, bad.seen = -1;
  CHECK_FALSE(valid(m, bad));
  bad = s, bad.far.segment = 9;
  CHECK_FALSE(valid(m, bad));

  auto w = m.weights();
  CHECK(leaf_paths(w) == std::vector<std::string>{"near.weight", "near.bias"});
  edit<float>(w.near.weight)[0] = 50;
  CHECK(data<float>(m.near().weights().weight)[0] == 50);

  auto gated = windowed({.window = 2}, leaky<float>{width}, leaky<float>{width},
                        linear<float>({.d_in = width, .d_out = 1}));
  auto gate = gated.weights();
  CHECK(leaf_paths(gate) == std::vector<std::string>{"gate.weight", "gate.bias"});

  using words = embedding<float>;
  const words near({.vocabulary = 5, .d_model = 2}, 1), far({.vocabulary = 5, .d_model = 2}, 2);
  const auto tokens = windowed({.window = 1}, near, far);
  CHECK(tokens.vocabulary() == 5);
  const std::vector<token_id> ids{4, 2};
  table<float> Y(2, 2);
  auto t = tokens.init();
  scan(tokens, ctx, t, mat_view<const token_id>(ids.data(), 2, 1), Y);
  CHECK(Y.all[2] == data<float>(near.weights().weight)[2 * 2] + data<float>(far.weights().weight)[4 * 2]);
}
