// SPDX-License-Identifier: Apache-2.0
// Small memories for the tests of the core: only what the concept asks for, and one with every refinement.
#pragma once
#include <mneme/core/scan.hpp>
#include <mneme/math/random.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace mneme_test {

using mneme::buffer;
using mneme::context;
using mneme::index_t;
using mneme::mat_view;
using mneme::place;
using mneme::row_view;

// h = h / 2 + x;  y_i = h_i + h_(i + 1).  Offers step and nothing else.
template <class T>
struct leaky {
  using scalar = T;
  struct state {
    buffer<T> h;
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("h", s.h...); }
  };
  index_t d;

  index_t d_in() const { return d; }
  index_t d_out() const { return d; }
  state init(place where = {}) const { return {buffer<T>(d, T(0), where)}; }
  void step(context&, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    for (index_t i = 0; i < d; ++i) s.h[i] = s.h[i] / 2 + x[i];
    for (index_t i = 0; i < d; ++i) y[i] = s.h[i] + s.h[(i + 1) % d];
  }
};

// Remembers every row; y = the sum of the rows of this segment, oldest first. Growing, Segmented, Readable.
template <class T>
struct journal {
  using scalar = T;
  struct state {
    buffer<T> rows;
    index_t segment = 0;  // first row of the segment
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("rows", s.rows...);
      f("segment", s.segment...);
    }
  };
  index_t d;

  index_t d_in() const { return d; }
  index_t d_out() const { return d; }
  state init(place where = {}) const { return {buffer<T>(0, T(0), where), 0}; }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    s.rows.resize(s.rows.size() + d);
    std::copy(x.begin(), x.end(), s.rows.end() - d);
    read(ctx, s, x, y);
  }
  void read(context&, const state& s, row_view<const T>, row_view<T> y) const noexcept {
    std::fill(y.begin(), y.end(), T(0));
    for (index_t r = s.segment; r < s.rows.size() / d; ++r)
      for (index_t i = 0; i < d; ++i) y[i] += s.rows[r * d + i];
  }
  bool reserve(state& s, index_t n) const {
    s.rows.reserve(s.rows.size() + n * d);
    return true;
  }
  void end_segment(context&, state& s) const { s.segment = s.rows.size() / d; }
  bool valid(const state& s) const { return s.segment >= 0 && s.segment <= s.rows.size() / d; }
};

// Rows x cols values between -1 and 1.
template <class T>
struct table {
  std::vector<T> all;
  index_t rows, cols;

  table(index_t r, index_t c, std::uint64_t seed = 1)
      : all(static_cast<std::size_t>(r * c)), rows(r), cols(c) {
    mneme::random_stream random(seed, 0);
    for (T& x : all) x = static_cast<T>(random.uniform(-1, 1));
  }
  mat_view<T> view() { return {all.data(), rows, cols}; }
  mat_view<const T> view() const { return {all.data(), rows, cols}; }
  operator mat_view<const T>() const { return view(); }
  operator mat_view<T>() { return view(); }
  // Bits: NaN differs from everything.
  friend bool operator==(const table&, const table&) = default;
  // Whether the last rows of `whole` are these.
  bool is_end_of(const table& whole) const {
    return std::equal(all.begin(), all.end(), whole.all.end() - static_cast<std::ptrdiff_t>(all.size()));
  }
};

// What m answers token by token, from the empty state; the final state in `end`.
template <class M>
auto stepped(const M& m, const table<mneme::input_t<M>>& X, mneme::state_t<M>* end = nullptr) {
  table<mneme::scalar_t<M>> Y(X.rows, m.d_out());
  context ctx;
  auto s = m.init();
  for (index_t t = 0; t < X.rows; ++t) m.step(ctx, s, X.view()[t], Y.view()[t]);
  if (end) *end = s;
  return Y;
}

inline std::vector<std::string> leaf_paths(auto& aggregate) {
  std::vector<std::string> all;
  mneme::visit_fields([&](const mneme::field_path& at, auto&&) { all.push_back(at.text()); }, aggregate);
  return all;
}

}  // namespace mneme_test
