// SPDX-License-Identifier: Apache-2.0
// Mutants that do not behave beside others: repeated calls, threads, lanes, the allocator; and wrong caches.
#pragma once
#include "wrong_calls.hpp"

#include <atomic>
#include <thread>

namespace mneme_test::mutants {

struct counts_globally : base {  // another answer at every call
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    static thread_local int calls = 0;
    base::scan(ctx, s, X, Y);
    if (Y.rows() > 0) Y[0][0] += 1e-6f * static_cast<float>(++calls % 2);
  }
};
struct shares_scratch : base {  // a static row as scratch
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    static std::array<std::atomic<float>, width> shared;
    context::frame scratch(ctx);
    const auto x = scratch.row<float>(width);
    base::scan(ctx, s, X.first(X.rows() - Y.rows()), Y.first(0));
    for (index_t t = 0; t < Y.rows(); ++t) {
      const in_row row = X[X.rows() - Y.rows() + t];
      for (index_t c = 0; c < width; ++c) shared[static_cast<std::size_t>(c)] = row[c];
      std::this_thread::yield();
      for (index_t c = 0; c < width; ++c) x[c] = shared[static_cast<std::size_t>(c)];
      token(s, x, Y[t]);
    }
  }
};
struct writes_input : base {
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    if (X.rows() > 0) const_cast<float*>(X.data())[0] = 0;
  }
};
struct writing_read : base {  // recall that leaves a trace
  void read(context& ctx, const state& s, in_row q, out_row y) const noexcept {
    base::read(ctx, s, q, y);
    ++const_cast<state&>(s).seen;
  }
};
struct order_of_workers : base {  // the sum depends on which index runs first
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    float sum = 0;
    if (Y.rows() > 0)
      ctx.parallel_for(5, [&](index_t i, context&) { sum = 0.5f * sum + static_cast<float>(i); });
    if (Y.rows() > 0) Y[0][0] += sum;
  }
};
struct allocates : base {
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    const std::vector<float> copy(x.begin(), x.end());
    base::step(ctx, s, in_row(copy), y);
  }
};
struct growing_scratch : base {  // scratch that grows with the stream, though the call does not
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    context::frame scratch(ctx);
    const auto rows = scratch.row<float>(s.seen * width);
    base::step(ctx, s, x, y);
    if (rows.size() > 0) rows[0] = 0;
  }
};
struct counts_lone_lanes : base {  // takes a batch of one lane for a token, also where it has none
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    base::scan_many(ctx, lanes, X, Y);
    if (lanes.size() == 1 && X.rows() == 0) ++lanes.front().state->seen;
  }
};
struct swaps_lanes : base {
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    base::scan_many(ctx, lanes, X, Y);
    if (lanes.size() > 1 && Y.rows() > 1) std::swap_ranges(Y[0].begin(), Y[0].end(), Y[Y.rows() - 1].begin());
  }
};
struct first_outs : base {  // of each lane the first outputs
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    index_t x = 0, y = 0;
    for (const lane& l : lanes) {
      base::scan(ctx, *l.state, X.range(x, x + l.outs), Y.range(y, y + l.outs));
      base::scan(ctx, *l.state, X.range(x + l.outs, x + l.rows), Y.first(0));
      x += l.rows, y += l.outs;
    }
  }
};
struct packed_lanes : base {  // forgets the stride of a batch
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    base::scan_many(ctx, lanes, {X.data(), X.rows(), X.cols()}, Y);
  }
};
struct mixes_lanes : base {  // one level for all lanes
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    index_t x = 0, y = 0;
    for (const lane& l : lanes) {
      if (l.rows > 0) l.state->level[0] = lanes.front().state->level[0];
      base::scan(ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
      x += l.rows, y += l.outs;
    }
  }
};
struct depends_on_rows : base {  // within tolerance, but another path for many rows than for few
  static constexpr bool row_stable = true;
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    if (X.rows() > 4 && Y.rows() > 0) Y[0][0] *= 1 + std::numeric_limits<float>::epsilon();
  }
};
struct depends_on_lanes : base {  // another path for a batch as wide as a vector
  static constexpr bool row_stable = true;
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    base::scan_many(ctx, lanes, X, Y);
    if (lanes.size() >= 8 && Y.rows() > 0) Y[0][0] *= 1 + std::numeric_limits<float>::epsilon();
  }
};

using cache = newest<float>;

struct evicts_at_call_end : cache {  // appends a whole call, then trims: the answer depends on the cut
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t < X.rows(); ++t) {
      append(s, X[t]);
      if (t >= skip) recall(s, X[t], Y[t - skip]);
      if (s.size == room || t + 1 == X.rows())
        while (s.size > bound) drop_oldest(ctx, s);
    }
  }
};
struct tells_twice : cache {
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    if (s.size == bound) tell(ctx, s, 0, 0);
    cache::step(ctx, s, x, y);
  }
};
struct drops_silently : cache {  // tells one list of two
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    append(s, x);
    if (s.size > bound) {
      tell(ctx, s, 0, 0);
      remove_oldest(s, 0);
      remove_oldest(s, 1);
      --s.size;
    }
    recall(s, x, y);
  }
};
struct overshoots : cache {
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    append(s, x);
    if (s.size > bound + 1) drop_oldest(ctx, s);
    recall(s, x, y);
  }
};
struct evicts_early : cache {  // lets go although there is room
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    append(s, x);
    if (s.size >= bound) drop_oldest(ctx, s);
    recall(s, x, y);
  }
};
struct names_the_dead : cache {  // a dropped entry still counts as live
  std::vector<index_t> live(const state& s, index_t list) const {
    auto positions = cache::live(s, list);
    if (s.seen > bound) positions.front() = s.seen - bound - 1;
    return positions;
  }
};
struct empties_itself : cache {  // drops everything at once
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    append(s, x);
    recall(s, x, y);
    while (s.seen % 6 == 0 && s.size > 0) drop_oldest(ctx, s);
    if (s.size > bound) drop_oldest(ctx, s);
  }
};

struct breaks_promise : archive<float> {  // reserve says true and does nothing
  bool reserve(state&, index_t) const { return true; }
};

}  // namespace mneme_test::mutants
