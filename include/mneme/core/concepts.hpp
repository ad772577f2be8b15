// SPDX-License-Identifier: Apache-2.0
// The Memory concept, split into named parts so that a compiler names the part that is missing, and its
// refinements.
#pragma once
#include "context.hpp"
#include "fields.hpp"

#include <concepts>
#include <span>
#include <vector>

namespace mneme::inline MNEME_ABI {

namespace detail {
template <class M>
struct space_of {
  using type = host;
};
template <class M>
  requires requires { typename M::space; }
struct space_of<M> {
  using type = typename M::space;
};
template <class M>
struct input_of {
  using type = typename M::scalar;
};
template <class M>
  requires requires { typename M::input; }
struct input_of<M> {
  using type = typename M::input;
};
}  // namespace detail

template <class M>
using scalar_t = typename M::scalar;
template <class M>
using state_t = typename M::state;
template <class M>
using space_t = typename detail::space_of<M>::type;  // host unless M says otherwise
template <class M>
using input_t = typename detail::input_of<M>::type;  // scalar unless M reads something else (token ids)
template <class M>
using row_in = row_view<const input_t<M>, space_t<M>>;
template <class M>
using row_out = row_view<scalar_t<M>, space_t<M>>;
template <class M>
using mat_in = mat_view<const input_t<M>, space_t<M>>;
template <class M>
using mat_out = mat_view<scalar_t<M>, space_t<M>>;
template <class M>
using context_of = context_in<space_t<M>>;

// The element type of outputs and the type that holds the whole past of one stream.
template <class M>
concept HasTypes = requires {
  typename M::scalar;
  typename M::state;
};

// Width of input and output rows.
template <class M>
concept HasShape = requires(const M& m) {
  { m.d_in() } -> std::same_as<index_t>;
  { m.d_out() } -> std::same_as<index_t>;
};

// The empty past, its bytes taken from a place. States are regular values, every member visited by fields.
template <class M>
concept HasInit =
    std::regular<state_t<M>> && HasFields<state_t<M>> && requires(const M& m, place_in<space_t<M>> where) {
      { m.init() } -> std::same_as<state_t<M>>;
      { m.init(where) } -> std::same_as<state_t<M>>;
    };

// One token: x [d_in] -> y [d_out]; changes the state, never the memory.
template <class M>
concept HasStep = requires(const M& m, context_of<M>& ctx, state_t<M>& s, row_in<M> x, row_out<M> y) {
  { m.step(ctx, s, x, y) } noexcept -> std::same_as<void>;
};

// A causal sequence map whose whole past is one explicit value.
template <class M>
concept Memory = HasTypes<M> && HasShape<M> && HasInit<M> && HasStep<M>;

// The next `rows` rows of a packed X belong to one stream; of its outputs the last `outs` are wanted.
template <class S>
struct lane {
  S* state;
  index_t rows;
  index_t outs;
};
template <class M>
using lanes_of = std::span<const lane<state_t<M>>>;

// The fast path for many tokens: X has T >= 0 rows, Y receives the last Y.rows() outputs.
template <class M>
concept Scannable = Memory<M> && requires(const M& m, context_of<M>& ctx, state_t<M>& s, mat_in<M> X,
                                          mat_out<M> Y) { m.scan(ctx, s, X, Y); };

// Many independent streams in one call: batches, ragged batches, prefill and decode mixed.
template <class M>
concept Batched = Memory<M> && requires(const M& m, context_of<M>& ctx, lanes_of<M> lanes, mat_in<M> X,
                                        mat_out<M> Y) { m.scan_many(ctx, lanes, X, Y); };

// Recall without writing: q has d_in elements, y has d_out.
template <class M>
concept Readable = Memory<M> && requires(const M& m, context_of<M>& ctx, const state_t<M>& s, row_in<M> q,
                                         row_out<M> y) { m.read(ctx, s, q, y); };

// Unbounded states. After reserve returned true, the next n steps neither allocate nor fail.
template <class M>
concept Growing = Memory<M> && requires(const M& m, state_t<M>& s, index_t n) {
  { m.reserve(s, n) } -> std::same_as<bool>;
};

// An explicit boundary (a turn, a document). Nothing may happen merely because a call ends.
template <class M>
concept Segmented =
    Memory<M> && requires(const M& m, context_of<M>& ctx, state_t<M>& s) { m.end_segment(ctx, s); };

// Late per-token input: labels, surprise, rewards.
template <class M>
concept Taught = Memory<M> && requires(const M& m, context_of<M>& ctx, state_t<M>& s,
                                       row_view<const scalar_t<M>, space_t<M>> signal) {
  { m.d_signal() } -> std::same_as<index_t>;
  m.tell(ctx, s, signal);
};

// Encoder and prefix memories: the prefix makes a start state.
template <class M>
concept Prefixed = Memory<M> && requires(const M& m, context_of<M>& ctx, mat_in<M> P) {
  { m.init(ctx, P) } -> std::same_as<state_t<M>>;
};

// Going back. mark(s) numbers the present; rewind to a mark that lies at most rewindable_by(s) before it
// restores what the state was then, to the bit; every other mark is refused: false, and the state is
// untouched.
template <class M>
concept Rewindable =
    Memory<M> && requires(const M& m, context_of<M>& ctx, state_t<M>& s, const state_t<M>& c, index_t mark) {
      { m.mark(c) } -> std::same_as<index_t>;
      { m.rewindable_by(c) } -> std::same_as<index_t>;
      { m.rewind(ctx, s, mark) } -> std::same_as<bool>;
    };

// Whether the parts of a state belong together (a size that fits its buffers): asked of states that come from
// files.
template <class M>
concept Validated = Memory<M> && requires(const M& m, const state_t<M>& s) {
  { m.valid(s) } -> std::same_as<bool>;
};

// A cache of bounded size that can say what it holds. `live` gives the absolute positions of the entries of
// one list (a key/value head), in slot order; capacity 0 means unbounded. One that is cut at boundaries alone
// has capacity 0 and says in segment_capacity() how many entries of a list may be left by end_segment.
template <class M>
concept Evicting = Memory<M> && requires(const M& m, const state_t<M>& s, index_t list) {
  { m.capacity() } -> std::same_as<index_t>;
  { m.lists() } -> std::same_as<index_t>;
  { m.live(s, list) } -> std::same_as<std::vector<index_t>>;
};

namespace detail {
// What step, scan and scan_many take for granted and assert, in builds that assert: rows as wide as m says,
// no more outputs than rows. No rows may have any width.
template <class M>
bool row_fits(const M& m, const auto& x, const auto& y) {
  return x.size() == m.d_in() && y.size() == m.d_out();
}
template <class M>
bool rows_fit(const M& m, const auto& X, const auto& Y) {
  return (X.rows() == 0 || X.cols() == m.d_in()) && (Y.rows() == 0 || Y.cols() == m.d_out()) &&
         Y.rows() <= X.rows();
}
template <class M>
bool lanes_fit(const M& m, const auto& lanes, const auto& X, const auto& Y) {
  index_t rows = 0, outs = 0;
  for (const auto& l : lanes) {
    if (l.outs < 0 || l.outs > l.rows) return false;
    rows += l.rows, outs += l.outs;
  }
  return rows == X.rows() && outs == Y.rows() && rows_fit(m, X, Y);
}
}  // namespace detail

// A memory that states law L21 with `static constexpr bool row_stable = true`: the bits of a row's result do
// not depend on how many rows or lanes were computed with it.
template <class M>
inline constexpr bool row_stable = requires { requires M::row_stable; };

// Learned tensors, visited under checkpoint names.
template <class M>
concept HasParams = requires(M& m, const M& c) {
  m.weights();
  c.weights();
};

// Gradients: ds holds dL/ds_T on entry and dL/ds_0 on return; dX is written, dp accumulated. No tape.
template <class M>
concept Differentiable =
    Memory<M> && HasParams<M> &&
    requires(const M& m, context_of<M>& ctx, const state_t<M>& s0, mat_in<M> X, mat_in<M> dY, state_t<M>& ds,
             mat_out<M> dX, typename M::params& dp) { m.vjp(ctx, s0, X, dY, ds, dX, dp); };

// The hook for laws and benches: small configurations, ugly sizes included; M(config, seed) builds an
// instance.
template <class M>
concept Sampled = Memory<M> && requires(const typename M::config& c) {
  { M::samples() } -> std::same_as<std::vector<typename M::config>>;
  M(c, std::uint64_t{});
};

}  // namespace mneme::inline MNEME_ABI
