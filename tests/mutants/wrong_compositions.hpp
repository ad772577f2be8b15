// SPDX-License-Identifier: Apache-2.0
// The combinators on the healthy memories, and each with a fault of the kind that it invites.
#pragma once
#include <mneme/core/compose/cross.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/core/compose/windowed.hpp>

#include "wrong_calls.hpp"

namespace mneme_test::mutants {

struct undoable : mneme::rewindable_of<base> {
  undoable() : rewindable_of(base(), {.snapshot_every = 3, .log_capacity = 9}) {}
};
struct loses_a_row : undoable {  // replays one row too few
  bool rewind(context& ctx, state& s, index_t mark) const {
    if (mark <= s.base || mark >= s.position) return undoable::rewind(ctx, s, mark);
    undoable::rewind(ctx, s, mark - 1);
    s.position = mark;
    return true;
  }
};
struct leaves_a_trace : undoable {  // what was taken back stays in the log: equal pasts, unequal states
  bool rewind(context& ctx, state& s, index_t mark) const {
    const auto log = s.log;
    const bool granted = undoable::rewind(ctx, s, mark);
    s.log = log;
    return granted;
  }
};
struct moves_and_refuses : undoable {  // goes as far as it can and says no
  bool rewind(context& ctx, state& s, index_t mark) const {
    const bool granted = undoable::rewind(ctx, s, mark);
    if (!granted) undoable::rewind(ctx, s, s.base);
    return granted;
  }
};
struct promises_more : undoable {
  index_t rewindable_by(const state& s) const { return s.position; }
};
struct tells_again : mneme::rewindable_of<newest<float>> {  // a replay is heard
  tells_again() : rewindable_of(newest<float>(), {.snapshot_every = 3, .log_capacity = 9}) {}
  bool rewind(context& ctx, state& s, index_t mark) const {
    if (s.now.seen > newest<float>::bound) newest<float>::tell(ctx, s.now, 0, 0);
    return rewindable_of::rewind(ctx, s, mark);
  }
};

struct both_sums : mneme::parallel_of<mneme::join::sum, base, base> {
  both_sums() : parallel_of(base(), base()) {}
};
struct crosses_lanes : both_sums {  // the second part meets another lane's state
  void scan_many(context& ctx, std::span<const mneme::lane<state>> lanes, in_rows X, out_rows Y) const {
    both_sums::scan_many(ctx, lanes, X, Y);
    if (!lanes.empty())
      std::swap(std::get<1>(lanes.front().state->parts), std::get<1>(lanes.back().state->parts));
  }
};
struct side_by_side : mneme::parallel_of<mneme::join::concat, base, base> {
  side_by_side() : parallel_of(base(), base()) {}
};
struct packs_columns : side_by_side {  // takes the outputs for packed
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const {
    side_by_side::scan(ctx, s, X, {Y.data(), Y.rows(), Y.cols()});
  }
};

struct mixture : mneme::routed_of<base, base> {
  mixture() : routed_of(base(), 2, std::vector<base>(static_cast<std::size_t>(base::width))) {}
};
struct touches_the_rest : mixture {  // a scan leaves a trace in the members that no row was for
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const {
    const auto before = s.members;
    mixture::scan(ctx, s, X, Y);
    for (std::size_t e = 0; e < before.items.size(); ++e)
      if (X.rows() > 0 && s.members.items[e] == before.items[e]) ++s.members.items[e].seen;
  }
};
struct window_and_more : mneme::windowed_of<mneme::recall::leaving, base, base> {
  window_and_more() : windowed_of({.window = 4}, base(), base()) {}
};
struct loses_the_window : window_and_more {  // a scan longer than the window takes it for empty
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const {
    if (X.rows() > 4) std::fill(s.rows.begin(), s.rows.end(), 0.0f);
    window_and_more::scan(ctx, s, X, Y);
  }
};
struct folds_twice : window_and_more {  // a step gives the row that leaves to the longer memory again
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    const auto leaving = s.rows;
    const index_t at = s.seen % 4;
    window_and_more::step(ctx, s, x, y);
    context::frame scratch(ctx);
    if (s.seen > 4)
      far().step(ctx, s.far, in_row(leaving.data() + at * base::width, base::width),
                 scratch.row<float>(base::width));
  }
};

// A memory with a weight. It keeps all laws; what is made of it does not if two of them share a table.
template <class T>
struct amplified {
  using scalar = T;
  using state = leaky_state<T>;
  static constexpr index_t width = leaky<T>::width;
  leaky<T> inner;
  T gain = 2;

  amplified() = default;
  explicit amplified(T g) : gain(g) {}
  index_t d_in() const { return width; }
  index_t d_out() const { return width; }
  state init(place where = {}) const { return inner.init(where); }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    inner.step(ctx, s, x, y);
    multiply(gain, y);
  }
  static void multiply(T g, row_view<T> y) noexcept {
    for (T& each : y) each *= g;
  }
};
struct one_table_for_all : amplified<float> {  // derived from the weights of the first of its type
  using amplified::amplified;
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    static const float table = gain;
    inner.step(ctx, s, x, y);
    multiply(table, y);
  }
};

struct answers : mneme::cross_of<base> {
  answers() : cross_of(base(), base().init()) {}
};
struct learns_from_queries {  // a shared past that is not const
  using scalar = float;
  using state = mneme::nothing;
  base memory;
  std::shared_ptr<base::state> past = std::make_shared<base::state>(base().init());
  index_t d_in() const { return base::width; }
  index_t d_out() const { return base::width; }
  state init(place = {}) const { return {}; }
  void step(context&, state&, in_row x, out_row y) const noexcept {
    auto now = *past;
    memory.token(now, x, y);
    past->seen = now.seen;
  }
};

}  // namespace mneme_test::mutants
