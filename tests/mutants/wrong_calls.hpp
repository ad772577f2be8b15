// SPDX-License-Identifier: Apache-2.0
// Mutants whose fault is in how rows go in and come out.
#pragma once
#include <mneme/core/compose/group.hpp>
#include <mneme/core/lane_wise.hpp>

#include "healthy.hpp"

namespace mneme_test::mutants {

using base = leaky<float>;
using in_rows = mat_view<const float>;
using out_rows = mat_view<float>;
using in_row = row_view<const float>;
using out_row = row_view<float>;

struct lost_start : base {  // a scan begins at zero whatever the state says
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    if (X.rows() > 1) std::fill(s.level.begin(), s.level.end(), 0.0f);
    base::scan(ctx, s, X, Y);
  }
};
struct stale_window : base {  // a scan shorter than the convolution leaves its window as it was
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    const auto window = s.before;
    base::scan(ctx, s, X, Y);
    if (X.rows() < 2) s.before = window;
  }
};
struct first_rows : base {  // gives the first outputs where the last are asked for
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X.first(Y.rows()), Y);
    base::scan(ctx, s, X.last(X.rows() - Y.rows()), Y.first(0));
  }
};
struct uncounted_step : base {  // step and scan are two pieces of code, and one forgets the counter
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    base::step(ctx, s, x, y);
    --s.seen;
  }
};
struct counts_in_a_byte : base {  // a token by itself is counted in 7 bits
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    base::step(ctx, s, x, y);
    s.seen %= 128;
  }
};
struct counts_calls : base {  // something happens merely because a call ends
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    if (X.rows() == 0) ++s.seen;
  }
};
struct sees_future : base {  // an off-by-one in a convolution
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t + 1 < Y.rows(); ++t) Y[t][0] += 1e-3f * X[t + 1 + skip][0];
  }
};
struct masks_by_product : base {  // 0 * NaN
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t < Y.rows(); ++t)
      for (index_t u = 0; u < X.rows(); ++u) Y[t][0] += (u <= t + skip ? 0.0f : 0.0f) * X[u][0];
  }
};
struct scaled_by_chunk : base {  // normalises by the largest row of the call
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    float largest = 1;
    for (index_t t = 0; t < X.rows(); ++t) largest = std::max(largest, std::abs(X[t][0]));
    for (index_t t = 0; t < Y.rows(); ++t) Y[t][0] /= largest;
  }
};
struct adds_to_output : base {
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    const float old = y[0];
    base::step(ctx, s, x, y);
    y[0] += old;
  }
};
// What lies in unwritten memory by chance would be caught by chance: these two see what L10 alone leaves
// there.
inline bool all_ones(const std::byte* p, index_t n) {
  return std::all_of(p, p + n, [](std::byte b) { return b == std::byte{0xff}; });
}
struct reads_scratch : base {  // scratch taken for zeros
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    context::frame scratch(ctx);
    const auto sum = scratch.row<std::byte>(64);
    const bool dirty = all_ones(sum.data(), sum.size());
    base::scan(ctx, s, X, Y);
    if (dirty && Y.rows() > 0) Y[0][0] += 1;
  }
};
struct dirty_init : base {  // takes fresh memory for zeros
  state init(place where = {}) const {
    auto s = base::init(where);
    void* raw = where.from->allocate(where.from, 64);
    s.level[0] = all_ones(static_cast<const std::byte*>(raw), 64) ? 1.0f : 0.0f;
    where.from->release(where.from, raw, 64);
    return s;
  }
};
struct writes_padding : base {  // a vector store past the end of the row
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    if (Y.rows() > 0 && Y.stride() > Y.cols()) Y.data()[Y.cols()] = 0;
  }
};
struct writes_padding_of_few : base {  // so does a store of the last rows alone
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, X, Y);
    if (Y.rows() > 0 && Y.rows() < X.rows() && Y.stride() > Y.cols()) Y.data()[Y.cols()] = 0;
  }
};
struct assumes_packed : base {  // forgets the stride of the input
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    base::scan(ctx, s, {X.data(), X.rows(), X.cols()}, Y);
  }
};
struct assumes_alignment : base {  // an aligned load from an address that is not
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(X.data()) / 16 * 16;
    base::scan(ctx, s, {reinterpret_cast<const float*>(address), X.rows(), X.cols(), X.stride()}, Y);
  }
};
struct aligned_stores : base {  // the same on the way out
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(Y.data()) / 16 * 16;
    base::scan(ctx, s, X, {reinterpret_cast<float*>(address), Y.rows(), Y.cols(), Y.stride()});
  }
};
struct drops_block_tail : base {  // blocks of 8 rows; what is left over leaves no trace in the state
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    const index_t whole = X.rows() / 8 * 8;
    base::scan(ctx, s, X.first(whole), Y.first(std::min(whole, Y.rows())));
    if (X.rows() < 8) return base::scan(ctx, s, X, Y);
    auto forgotten = s;
    base::scan(ctx, forgotten, X.last(X.rows() - whole), Y.last(std::min(X.rows() - whole, Y.rows())));
  }
};
struct wrong_column_tail : base {  // the scalar rest of a vector loop lacks the convolution
  static void tail(state& s, in_row x, out_row y) noexcept {
    for (index_t c = width / 4 * 4; c < width; ++c) y[c] = s.level[c] + 0.5f * x[c];
  }
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    base::step(ctx, s, x, y);
    tail(s, x, y);
  }
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    for (index_t t = 0; t < Y.rows(); ++t) {
      const index_t row = X.rows() - Y.rows() + t;
      if (t == 0) base::scan(ctx, s, X.first(row), Y.first(0));
      step(ctx, s, X[row], Y[t]);
    }
    if (Y.rows() == 0) base::scan(ctx, s, X, Y);
  }
};
struct low_precision : base {  // sums in bfloat16
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    base::step(ctx, s, x, y);
    for (float& l : s.level) l = mneme::from_bf16(mneme::to_bf16(l));
  }
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    context::frame scratch(ctx);
    const auto unread = scratch.row<float>(width);
    const index_t skip = X.rows() - Y.rows();
    for (index_t t = 0; t < X.rows(); ++t) step(ctx, s, X[t], t < skip ? unread : Y[t - skip]);
  }
  void scan_many(context& ctx, std::span<const lane> lanes, in_rows X, out_rows Y) const noexcept {
    mneme::for_lanes(lanes, [&](const lane& l, index_t row, index_t out) {
      scan(ctx, *l.state, X.range(row, row + l.rows), Y.range(out, out + l.outs));
    });
  }
};

// A residual and a chain as one writes them on a bad day.
template <mneme::Memory M>
struct skips_first_rows {  // adds the first rows of X instead of the last
  using scalar = float;
  using state = mneme::state_t<M>;
  M inner;
  index_t d_in() const { return inner.d_in(); }
  index_t d_out() const { return inner.d_out(); }
  state init(place where = {}) const { return inner.init(where); }
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    inner.step(ctx, s, x, y);
    mneme::add_rows<float>(ctx, in_rows(x), out_rows(y));
  }
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const {
    inner.scan(ctx, s, X, Y);
    mneme::add_rows<float>(ctx, X.first(Y.rows()), Y);
  }
};
template <mneme::Memory M>
struct drops_inner_rows {  // asks the first part for the last rows only
  using scalar = float;
  using state = mneme::group<mneme::state_t<M>, mneme::state_t<M>>;
  M first, second;
  index_t d_in() const { return first.d_in(); }
  index_t d_out() const { return second.d_out(); }
  state init(place where = {}) const { return {{first.init(where), second.init(where)}}; }
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    scan(ctx, s, in_rows(x), out_rows(y));
  }
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    context::frame scratch(ctx);
    const auto H = scratch.mat<float>(Y.rows(), d_out());
    first.scan(ctx, std::get<0>(s.parts), X, H);
    second.scan(ctx, std::get<1>(s.parts), H, Y);
  }
};

}  // namespace mneme_test::mutants
