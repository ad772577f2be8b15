// SPDX-License-Identifier: Apache-2.0
// rewindable(m, {.snapshot_every, .log_capacity}): any memory can take back its latest tokens.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

namespace mneme::inline MNEME_ABI {

struct rewindable_config {
  index_t snapshot_every =
      32;                      // N: events between two copies of the state; a rewind replays fewer than these
  index_t log_capacity = 128;  // L: events that can be taken back at most; a multiple of N
};

// Events are numbered from 0; `base` is a multiple of N and position - base <= L.
template <class S, class Input>
struct rewindable_state {
  S now;
  many<S> snapshots;  // slot k mod L/N: the state before event k N, for base <= k N < position
  buffer<Input> log;  // [L, d_in] slot i mod L: the row of event i, for base <= i < position; else zero
  buffer<std::uint8_t> ends;  // [L] 1: event i is the end of a segment. Empty where there are no segments
  index_t position = 0, base = 0;

  friend bool operator==(const rewindable_state&, const rewindable_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("now", s.now...);
    f("snapshots", s.snapshots...);
    f("log", s.log...);
    f("ends", s.ends...);
    f("position", s.position...);
    f("base", s.base...);
  }
};

// A memory that can take back its latest tokens.
//   y = m(x)
// An event is a token or the end of a segment; mark(s) is the number of events so far,
// rewindable_by(s) counts events too: all of them at first, later between L - N + 1 and L after each event
// that moves forward. rewind copies the latest snapshot at or before the mark and replays what followed it,
// silently (no eviction is told twice).
// Exact to the bit: what a replay may have to repeat is fed in steps, unless m is row-stable. Not readable
// where m is erased. tell() is not offered: signals are not logged.
// Cost per token: m, one row copied, 1/N copy of the state. State: that of m (1 + L/N) times and L rows. The
// layout is a function of base, position and the tokens: a snapshot slot that is not in use holds the one of
// base.
template <Memory M>
  requires std::same_as<space_t<M>, host>
class rewindable_of {
 public:
  using scalar = scalar_t<M>;
  using input = input_t<M>;
  using state = rewindable_state<state_t<M>, input>;
  static constexpr bool row_stable = mneme::row_stable<M>;

  // Fails unless snapshot_every >= 1 and log_capacity is a positive multiple of it.
  explicit rewindable_of(M m, rewindable_config c = {}) : inner_(std::move(m)), config_(c) {
    if (c.snapshot_every < 1 || c.log_capacity < 1 || c.log_capacity % c.snapshot_every != 0)
      fail(message("rewindable: snapshot_every is ", c.snapshot_every, ", log_capacity is ", c.log_capacity,
                   ", expected a positive number and a multiple of it"));
  }

  index_t d_in() const { return inner_.d_in(); }
  index_t d_out() const { return inner_.d_out(); }
  const M& inner() const { return inner_; }
  const rewindable_config& configuration() const { return config_; }
  index_t vocabulary() const
    requires requires(const M& m) { m.vocabulary(); }
  {
    return inner_.vocabulary();
  }

  state init(place where = {}) const {
    state s{inner_.init(where),
            {},
            buffer<input>(log_rows() * d_in(), input{}, where),
            buffer<std::uint8_t>(Segmented<M> ? log_rows() : 0, 0, where)};
    s.snapshots.items.reserve(slots());
    for (std::size_t i = 0; i < slots(); ++i) s.snapshots.items.push_back(inner_.init(where));
    return s;
  }

  void step(context& ctx, state& s, row_in<M> x, row_out<M> y) const noexcept {
    begin_event(s);
    log(s, mat_in<M>(x));
    inner_.step(ctx, s.now, x, y);
    ++s.position;
  }
  // In pieces from snapshot to snapshot. What will be out of reach at the end is fed at once and not logged.
  void scan(context& ctx, state& s, mat_in<M> X, mat_out<M> Y) const {
    const index_t T = X.rows(), skip = T - Y.rows();
    const auto feed = [&](index_t a, index_t b, bool at_once) {
      const auto x = X.range(a, b);
      const auto y = Y.range(std::max(a, skip) - skip, std::max(b, skip) - skip);
      if (at_once || is_row_stable(inner_))
        mneme::scan(inner_, ctx, s.now, x, y);
      else
        steps(inner_, ctx, s.now, x, y);
      s.position += b - a;
    };
    if (ctx.preparing) return mneme::scan(inner_, ctx, s.now, X, Y);
    index_t fed = 0;
    const index_t out_of_reach = s.position + T - log_rows();
    if (const index_t base = (out_of_reach + every() - 1) / every() * every();
        out_of_reach > 0 && base > s.position) {
      forget(s, s.base, s.position);
      feed(0, fed = base - s.position, true);
      s.base = base;
    }
    while (fed < T) {
      begin_event(s);
      const index_t end = std::min(fed + every() - s.position % every(), T);
      log(s, X.range(fed, end));
      feed(fed, end, end - fed == every());
      fed = end;
    }
  }
  // Lanes of a row-stable memory that meet no snapshot on their way are one batch, as in decoding.
  void scan_many(context& ctx, lanes_of<rewindable_of> lanes, mat_in<M> X, mat_out<M> Y) const {
    bool together = is_row_stable(inner_);
    for (const auto& l : lanes) together = together && l.rows <= every() - l.state->position % every();
    if (!together)
      return for_lanes(lanes, [&](const auto& l, index_t x, index_t y) {
        scan(ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
      });
    context::frame scratch(ctx);
    const auto inner = scratch.template row<lane<state_t<M>>>(static_cast<index_t>(lanes.size()));
    index_t i = 0;
    for_lanes(lanes, [&](const auto& l, index_t x, index_t) {
      inner[i++] = {&l.state->now, l.rows, l.outs};
      if (l.rows == 0) return;
      begin_event(*l.state);
      log(*l.state, X.range(x, x + l.rows));
      l.state->position += l.rows;
    });
    mneme::scan_many(inner_, ctx, lanes_of<M>(inner.data(), lanes.size()), X, Y);
  }
  void read(context& ctx, const state& s, row_in<M> q, row_out<M> y) const
    requires(Readable<M> && !requires(const M& m) { m.readable(); })
  {
    inner_.read(ctx, s.now, q, y);
  }

  // The number of events so far.
  index_t mark(const state& s) const { return s.position; }
  // How many events can be taken back.
  index_t rewindable_by(const state& s) const { return s.position - s.base; }
  // Back to the mark; refused, the state untouched, if it lies ahead or further back than rewindable_by(s).
  bool rewind(context& ctx, state& s, index_t mark) const {
    if (mark > s.position || mark < s.base) return false;
    if (mark == s.position) return true;
    const auto* observer = std::exchange(ctx.on_eviction, nullptr);
    const index_t from = mark / every() * every();
    s.now = s.snapshots.items[slot(from)];
    for (index_t i = from; i < mark; ++i) replay(ctx, s, i);
    ctx.on_eviction = observer;
    for (index_t unused = std::max((mark + every() - 1) / every() * every(), s.base + every());
         unused < s.position; unused += every())
      s.snapshots.items[slot(unused)] = s.snapshots.items[slot(s.base)];
    forget(s, mark, s.position);
    s.position = mark;
    return true;
  }

  bool reserve(state& s, index_t n) const
    requires Growing<M>
  {
    bool all_did = inner_.reserve(s.now, n);
    for (auto& snapshot : s.snapshots.items)  // shall hold what now is then
      all_did = all_did && inner_.reserve(snapshot, n + s.position - s.base);
    return all_did;
  }
  void end_segment(context& ctx, state& s) const
    requires Segmented<M>
  {
    begin_event(s);
    s.ends[s.position % log_rows()] = 1;
    inner_.end_segment(ctx, s.now);
    ++s.position;
  }
  bool valid(const state& s) const {
    bool all_are = mneme::valid(inner_, s.now) && s.snapshots.items.size() == slots() &&
                   s.log.size() == log_rows() * d_in() && s.ends.size() == (Segmented<M> ? log_rows() : 0) &&
                   s.base >= 0 && s.base % every() == 0 && s.position >= s.base &&
                   s.position - s.base <= log_rows();
    for (const auto& snapshot : s.snapshots.items) all_are = all_are && mneme::valid(inner_, snapshot);
    return all_are;
  }
  decltype(auto) weights() { return weights_of(inner_); }
  decltype(auto) weights() const { return weights_of(inner_); }

 private:
  index_t every() const { return config_.snapshot_every; }
  index_t log_rows() const { return config_.log_capacity; }
  std::size_t slots() const { return static_cast<std::size_t>(log_rows() / every()); }
  std::size_t slot(index_t event) const { return static_cast<std::size_t>(event / every()) % slots(); }

  // Where a snapshot is due, takes it, if need be in the place of the oldest.
  void begin_event(state& s) const {
    if (s.position % every() != 0) return;
    if (s.position - s.base == log_rows()) {
      forget(s, s.base, s.base + every());
      s.base += every();
    }
    s.snapshots.items[slot(s.position)] = s.now;
  }
  void log(state& s, mat_in<M> X) const {
    for (index_t t = 0; t < X.rows(); ++t)
      std::copy(X[t].begin(), X[t].end(), s.log.data() + (s.position + t) % log_rows() * d_in());
  }
  void replay(context& ctx, state& s, index_t event) const {
    const index_t at = event % log_rows();
    if constexpr (Segmented<M>)
      if (s.ends[at]) return inner_.end_segment(ctx, s.now);
    context::frame scratch(ctx);
    inner_.step(ctx, s.now, row_in<M>(s.log.data() + at * d_in(), d_in()),
                scratch.template row<scalar>(d_out()));
  }
  // Zeros what is logged of events [from, to).
  void forget(state& s, index_t from, index_t to) const {
    for (index_t i = from; i < to; ++i) {
      std::fill_n(s.log.data() + i % log_rows() * d_in(), d_in(), input{});
      if constexpr (Segmented<M>) s.ends[i % log_rows()] = 0;
    }
  }

  M inner_;
  rewindable_config config_;
};

// A factory, not deduction of rewindable_of(...): rewindable(rewindable(m)) must stay two.
template <Memory M>
rewindable_of<M> rewindable(M m, rewindable_config c = {}) {
  return rewindable_of<M>(std::move(m), c);
}

}  // namespace mneme::inline MNEME_ABI
