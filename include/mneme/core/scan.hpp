// SPDX-License-Identifier: Apache-2.0
// The free functions that take any Memory and choose the best path that it offers: the only place that
// chooses.
#pragma once
#include "concepts.hpp"

#include <algorithm>
#include <cassert>

namespace mneme::inline MNEME_ABI {

namespace detail {
// One message for a type that is no Memory, instead of a page of overloads.
template <class M>
constexpr void require_memory() {
  static_assert(HasTypes<M>, "a Memory needs the member types `scalar` and `state`");
  static_assert(HasShape<M>, "a Memory needs `index_t d_in() const` and `index_t d_out() const`");
  static_assert(HasInit<M>,
                "a Memory needs `state init(place = {}) const`; state must be regular and have fields()");
  static_assert(CompleteFields<state_t<M>>, "state::fields must visit every member of the state");
  static_assert(HasStep<M>, "a Memory needs `void step(context&, state&, x, y) const noexcept`");
}
}  // namespace detail

// One token: x [d_in] -> y [d_out].
template <class M>
void step(const M& m, context_of<M>& ctx, state_t<M>& s, row_in<M> x, row_out<M> y) noexcept {
  detail::require_memory<M>();
  assert(detail::row_fits(m, x, y));
  m.step(ctx, s, x, y);
}

// One token after the other, whatever faster path there is: the bits do not depend on how many rows come
// together. X [T, d_in]; Y receives the last Y.rows() outputs (0 <= Y.rows() <= T).
template <class M>
void steps(const M& m, context_of<M>& ctx, state_t<M>& s, mat_in<M> X, mat_out<M> Y) {
  assert(detail::rows_fit(m, X, Y));
  typename context_of<M>::frame scratch(ctx);
  const auto unread = scratch.template row<scalar_t<M>>(m.d_out());
  const index_t skip = X.rows() - Y.rows();
  for (index_t t = 0; t < X.rows(); ++t) m.step(ctx, s, X[t], t < skip ? unread : Y[t - skip]);
}

// X [T, d_in]; Y receives the last Y.rows() outputs (0 <= Y.rows() <= T). Equal to T steps.
template <class M>
void scan(const M& m, context_of<M>& ctx, state_t<M>& s, mat_in<M> X, mat_out<M> Y) {
  detail::require_memory<M>();
  assert(detail::rows_fit(m, X, Y));
  if constexpr (Scannable<M>)
    m.scan(ctx, s, X, Y);
  else
    steps(m, ctx, s, X, Y);
}

// Feeds tokens without reading outputs.
template <class M>
void observe(const M& m, context_of<M>& ctx, state_t<M>& s, mat_in<M> X) {
  mneme::scan(m, ctx, s, X, mat_out<M>(nullptr, 0, m.d_out()));
}

// The next rows of many independent streams, packed lane after lane in X; Y packs the last `outs` of each
// lane.
template <class M>
void scan_many(const M& m, context_of<M>& ctx, lanes_of<M> lanes, mat_in<M> X, mat_out<M> Y) {
  detail::require_memory<M>();
  assert(detail::lanes_fit(m, lanes, X, Y));
  if constexpr (Batched<M>) {
    m.scan_many(ctx, lanes, X, Y);
  } else {
    index_t x = 0, y = 0;
    for (const auto& l : lanes) {
      mneme::scan(m, ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
      x += l.rows;
      y += l.outs;
    }
  }
}

// Recall without writing.
template <Readable M>
void read(const M& m, context_of<M>& ctx, const state_t<M>& s, row_in<M> q, row_out<M> y) {
  assert(detail::row_fits(m, q, y));
  m.read(ctx, s, q, y);
}

// After true, the next n steps neither allocate nor fail. Bounded memories have nothing to reserve.
template <Memory M>
bool reserve(const M& m, state_t<M>& s, index_t n) {
  if constexpr (Growing<M>)
    return m.reserve(s, n);
  else
    return true;
}

// An explicit boundary; memories without segments ignore it.
template <Memory M>
void end_segment(const M& m, context_of<M>& ctx, state_t<M>& s) {
  if constexpr (Segmented<M>) m.end_segment(ctx, s);
}

// Whether the parts of a state belong together. Memories that do not say have buffers of fixed sizes: those
// of init.
template <Memory M>
bool valid(const M& m, const state_t<M>& s) {
  if constexpr (Validated<M>) {
    return m.valid(s);
  } else {
    bool same = true;
    state_t<M> fresh = m.init();
    visit_fields(
        [&](const field_path&, const auto& a, const auto& b) {
          if constexpr (requires { a.size(); }) same = same && a.size() == b.size();
        },
        s, fresh);
    return same;
  }
}

// Sizes the context for calls of up to `rows` tokens by running on a thrown-away state, so that no memory has
// to declare its scratch. Afterwards scan (of at most `rows`) and step do not allocate. Observers stay
// silent.
template <Memory M>
  requires std::same_as<space_t<M>, host>
void prepare(const M& m, context& ctx, index_t rows) {
  const auto* observer = std::exchange(ctx.on_eviction, nullptr);
  ctx.preparing = true;
  {
    context::frame scratch(ctx);
    const auto X = scratch.mat<input_t<M>>(rows, m.d_in());
    const auto Y = scratch.mat<scalar_t<M>>(rows, m.d_out());
    std::fill_n(X.data(), rows * m.d_in(), input_t<M>{});
    state_t<M> s = m.init();
    mneme::scan(m, ctx, s, X, Y);
    for (index_t t = 0; t < std::min<index_t>(rows, 1); ++t) m.step(ctx, s, X[t], Y[t]);
  }
  ctx.preparing = false;
  ctx.on_eviction = observer;
}

}  // namespace mneme::inline MNEME_ABI
