// SPDX-License-Identifier: Apache-2.0
// Mutants of caches that boundaries alone cut, and of what such a cache remembers of its queries.
#pragma once
#include "healthy.hpp"

namespace mneme_test::mutants {

struct diary_state {
  buffer<float> rows;         // [size][channels], in ascending position
  buffer<index_t> positions;  // [size]
  buffer<float> latest;       // [2][channels] the newest two rows: that of position p lies in row p mod 2
  index_t seen = 0;

  friend bool operator==(const diary_state&, const diary_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("rows", s.rows...);
    f("positions", s.positions...);
    f("latest", s.latest...);
    f("seen", s.seen...);
  }
};

// Grows until end_segment keeps the `bound` rows whose first channel lies nearest to that of the newest two
// rows;
// y = x + the mean of what is kept.
template <class Self>
class segmented_diary {
 public:
  using scalar = float;
  using state = diary_state;
  static constexpr index_t channels = 3, bound = 4;

  index_t d_in() const { return channels; }
  index_t d_out() const { return channels; }
  index_t capacity() const { return 0; }
  index_t segment_capacity() const { return bound; }
  index_t lists() const { return 1; }
  std::vector<index_t> live(const state& s, index_t) const {
    return {s.positions.begin(), s.positions.end()};
  }
  bool valid(const state& s) const { return s.rows.size() == s.positions.size() * channels; }
  state init(place where = {}) const {
    return {buffer<float>(0, 0, where), buffer<index_t>(0, 0, where), buffer<float>(2 * channels, 0, where),
            0};
  }
  bool reserve(state& s, index_t n) const {
    s.rows.reserve(s.rows.size() + n * channels);
    s.positions.reserve(s.positions.size() + n);
    return true;
  }
  void step(context& ctx, state& s, row_view<const float> x, row_view<float> y) const noexcept {
    Self::token(ctx, s, x, y, 0);
  }
  void scan(context& ctx, state& s, mat_view<const float> X, mat_view<float> Y) const noexcept {
    context::frame scratch(ctx);
    const auto unread = scratch.row<float>(channels);
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t < X.rows(); ++t) Self::token(ctx, s, X[t], t < skip ? unread : Y[t - skip], t);
  }
  void end_segment(context& ctx, state& s) const noexcept { Self::cut(ctx, s); }

  // `row`: the number of the row in this call, which is nobody's business.
  static void token(context&, state& s, row_view<const float> x, row_view<float> y, index_t) noexcept {
    append(s, x, s.seen);
    recall(s, x, y);
  }
  static void append(state& s, row_view<const float> x, index_t ring) noexcept {
    const index_t size = s.positions.size();
    s.rows.resize((size + 1) * channels);
    s.positions.resize(size + 1);
    std::copy(x.begin(), x.end(), s.rows.data() + size * channels);
    std::copy(x.begin(), x.end(), s.latest.data() + ring % 2 * channels);
    s.positions[size] = s.seen++;
  }
  static void recall(const state& s, row_view<const float> x, row_view<float> y) noexcept {
    for (index_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (index_t i = c; i < s.rows.size(); i += channels) sum += s.rows[i];
      y[c] = x[c] + sum / static_cast<float>(s.positions.size());
    }
  }
  static void cut(context& ctx, state& s) noexcept {
    while (s.positions.size() > bound) drop(ctx, s, farthest(s));
  }
  static index_t farthest(const state& s) noexcept {
    index_t worst = 0;
    float most = -1;
    for (index_t i = 0; i < s.positions.size(); ++i) {
      const float away = std::abs(s.rows[i * channels] - (s.latest[0] + s.latest[channels]) / 2);
      if (away > most) most = away, worst = i;
    }
    return worst;
  }
  static void tell(context& ctx, const state& s, index_t slot) noexcept {
    const float key[1] = {};
    if (ctx.on_eviction)
      ctx.on_eviction->evicted(ctx.on_eviction->self, {"diary", 0, s.positions[slot], {key, 1}, {key, 1}});
  }
  static void drop(context& ctx, state& s, index_t slot) noexcept {
    tell(ctx, s, slot);
    remove(s, slot);
  }
  static void remove(state& s, index_t slot) noexcept {
    const index_t size = s.positions.size();
    std::copy(s.rows.data() + (slot + 1) * channels, s.rows.data() + size * channels,
              s.rows.data() + slot * channels);
    std::copy(s.positions.data() + slot + 1, s.positions.data() + size, s.positions.data() + slot);
    s.rows.resize((size - 1) * channels);
    s.positions.resize(size - 1);
  }
};

struct diary : segmented_diary<diary> {};
struct cuts_too_little : segmented_diary<cuts_too_little> {
  static void cut(context& ctx, state& s) noexcept {
    while (s.positions.size() > bound + 1) drop(ctx, s, farthest(s));
  }
};
struct cuts_in_silence : segmented_diary<cuts_in_silence> {
  static void cut(context&, state& s) noexcept {
    while (s.positions.size() > bound) remove(s, farthest(s));
  }
};
struct cuts_in_disorder : segmented_diary<cuts_in_disorder> {  // the newest takes the place of what leaves
  static void cut(context& ctx, state& s) noexcept {
    for (index_t size = s.positions.size(); size > bound; size = s.positions.size()) {
      const index_t slot = farthest(s);
      tell(ctx, s, slot);
      std::copy_n(s.rows.data() + (size - 1) * channels, channels, s.rows.data() + slot * channels);
      s.positions[slot] = s.positions[size - 1];
      remove(s, size - 1);
    }
  }
};
struct cuts_between : segmented_diary<cuts_between> {  // where nothing ended
  static void token(context& ctx, state& s, row_view<const float> x, row_view<float> y, index_t) noexcept {
    append(s, x, s.seen);
    if (s.positions.size() > 2 * bound) drop(ctx, s, 0);
    recall(s, x, y);
  }
};
struct cuts_again : segmented_diary<cuts_again> {  // a boundary after a boundary takes one more
  static void cut(context& ctx, state& s) noexcept {
    if (s.positions.size() == bound)
      drop(ctx, s, 0);
    else
      segmented_diary::cut(ctx, s);
  }
};
struct queries_of_the_call
    : segmented_diary<queries_of_the_call> {  // the newest two of a call, not of the stream
  static void token(context&, state& s, row_view<const float> x, row_view<float> y, index_t row) noexcept {
    append(s, x, row);
    recall(s, x, y);
  }
};

}  // namespace mneme_test::mutants
