// SPDX-License-Identifier: Apache-2.0
// Three small memories that keep all laws. Every mutant is one of them with a single fault.
#pragma once
#include <mneme/core/any_memory.hpp>

#include <cmath>
#include <memory>

namespace mneme_test::mutants {

using mneme::buffer;
using mneme::context;
using mneme::index_t;
using mneme::mat_view;
using mneme::place;
using mneme::row_view;

template <class T>
struct leaky_state {
  buffer<T> level;   // [width] decayed sum of the rows
  buffer<T> before;  // [2][width] the two rows before the next one
  index_t seen = 0;

  friend bool operator==(const leaky_state&, const leaky_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("level", s.level...);
    f("before", s.before...);
    f("seen", s.seen...);
  }
};

// level <- 0.9 level + x;  y = level + 0.5 x + 0.3 x_before + 0.2 x_before_that, and 0.1 more at every third
// row.
template <class T, class State = leaky_state<T>>
class leaky {
 public:
  using scalar = T;
  using state = State;
  using lane = mneme::lane<state>;
  static constexpr index_t width = 7;

  index_t d_in() const { return width; }
  index_t d_out() const { return width; }
  state init(place where = {}) const {
    state s;
    s.level = buffer<T>(width, T(0), where);
    s.before = buffer<T>(2 * width, T(0), where);
    return s;
  }
  void step(context&, state& s, row_view<const T> x, row_view<T> y) const noexcept { token(s, x, y); }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto unread = scratch.row<T>(width);
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t < X.rows(); ++t) token(s, X[t], t < skip ? unread : Y[t - skip]);
  }
  void scan_many(context& ctx, std::span<const lane> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    index_t x = 0, y = 0;
    for (const lane& l : lanes) {
      scan(ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
      x += l.rows, y += l.outs;
    }
  }
  void read(context&, const state& s, row_view<const T> q, row_view<T> y) const noexcept {
    for (index_t c = 0; c < width; ++c) y[c] = s.level[c] * q[c];
  }

  static void token(state& s, row_view<const T> x, row_view<T> y) noexcept {
    for (index_t c = 0; c < width; ++c) channel(s, x[c], y[c], c);
    ++s.seen;
  }
  static void channel(state& s, T x, T& y, index_t c) noexcept {
    T &older = s.before[c], &newer = s.before[width + c];
    s.level[c] = T(0.9) * s.level[c] + x;
    y = s.level[c] + T(0.5) * x + T(0.3) * newer + T(0.2) * older + (s.seen % 3 == 0 ? T(0.1) : T(0));
    older = newer;
    newer = x;
  }
};

// A cache of two lists that keeps the newest `bound` rows of each, oldest first; y = x + the mean of what is
// kept.
template <class T>
struct newest_state {
  buffer<T> kept;             // [2][bound][width]; dead slots are zero
  buffer<index_t> positions;  // [2][bound]
  index_t size = 0, seen = 0;

  friend bool operator==(const newest_state&, const newest_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("kept", s.kept...);
    f("positions", s.positions...);
    f("size", s.size...);
    f("seen", s.seen...);
  }
};

template <class T>
class newest {
 public:
  using scalar = T;
  using state = newest_state<T>;
  static constexpr index_t width = 3, bound = 4, room = 8;

  index_t d_in() const { return width; }
  index_t d_out() const { return width; }
  index_t capacity() const { return bound; }
  index_t lists() const { return 2; }
  std::vector<index_t> live(const state& s, index_t list) const {
    const index_t* p = s.positions.data() + list * room;
    return {p, p + s.size};
  }
  state init(place where = {}) const {
    return {buffer<T>(2 * room * width, T(0), where), buffer<index_t>(2 * room, 0, where), 0, 0};
  }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    append(s, x);
    if (s.size > bound) drop_oldest(ctx, s);
    recall(s, x, y);
  }

  static void append(state& s, row_view<const T> x) noexcept {
    for (index_t list = 0; list < 2; ++list) {
      const index_t slot = list * room + s.size;
      std::copy(x.begin(), x.end(), s.kept.data() + slot * width);
      s.positions[slot] = s.seen;
    }
    ++s.size, ++s.seen;
  }
  static void tell(context& ctx, const state& s, index_t list, index_t slot) noexcept {
    const float key[1] = {};
    if (ctx.on_eviction)
      ctx.on_eviction->evicted(ctx.on_eviction->self,
                               {"newest", list, s.positions[list * room + slot], {key, 1}, {key, 1}});
  }
  static void remove_oldest(state& s, index_t list) noexcept {
    index_t* p = s.positions.data() + list * room;
    T* k = s.kept.data() + list * room * width;
    std::copy(p + 1, p + s.size, p);
    std::copy(k + width, k + s.size * width, k);
    p[s.size - 1] = 0;
    std::fill_n(k + (s.size - 1) * width, width, T(0));
  }
  static void drop_oldest(context& ctx, state& s) noexcept {
    for (index_t list = 0; list < 2; ++list) {
      tell(ctx, s, list, 0);
      remove_oldest(s, list);
    }
    --s.size;
  }
  static void recall(const state& s, row_view<const T> x, row_view<T> y) noexcept {
    for (index_t c = 0; c < width; ++c) {
      T sum = 0;
      for (index_t i = 0; i < s.size; ++i) sum += s.kept[i * width + c];
      y[c] = x[c] + sum / static_cast<T>(s.size);
    }
  }
};

// Keeps every row and grows; y = the mean of all rows.
template <class T>
struct archive_state {
  buffer<T> rows;
  friend bool operator==(const archive_state&, const archive_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) { f("rows", s.rows...); }
};

template <class T>
class archive {
 public:
  using scalar = T;
  using state = archive_state<T>;
  static constexpr index_t width = 5;

  index_t d_in() const { return width; }
  index_t d_out() const { return width; }
  state init(place where = {}) const { return {buffer<T>(0, T(0), where)}; }
  bool reserve(state& s, index_t n) const {
    s.rows.reserve(s.rows.size() + n * width);
    return true;
  }
  bool valid(const state& s) const { return s.rows.size() % width == 0; }
  void step(context&, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    const index_t size = s.rows.size();
    s.rows.resize(size + width);
    std::copy(x.begin(), x.end(), s.rows.data() + size);
    for (index_t c = 0; c < width; ++c) {
      T sum = 0;
      for (index_t i = c; i < s.rows.size(); i += width) sum += s.rows[i];
      y[c] = sum * static_cast<T>(width) / static_cast<T>(s.rows.size());
    }
  }
};

}  // namespace mneme_test::mutants
