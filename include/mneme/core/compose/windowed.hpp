// SPDX-License-Identifier: Apache-2.0
// windowed(config, near, far, gate): a window of the latest tokens, a longer memory of those that have left
// it, and what says how much of the latter to take.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

struct windowed_config {
  index_t window = 1;    // W: rows that stay with near alone
  index_t sinks = 0;     // n: the first n rows never go to far
  double far_scale = 1;  // g
};

// What the longer memory is asked.
enum class recall {
  leaving,  // its answer is the one to the row that leaves: any memory
  newest,   // it is read with the newest row, after the row that leaves was written: Readable
};

// Instead of a gate: gives no numbers, and what far answers counts in full.
template <class M>
struct no_gate {
  using scalar = scalar_t<M>;
  using input = input_t<M>;
  using state = nothing;
  static constexpr bool row_stable = true;
  index_t d_in() const { return 0; }
  index_t d_out() const { return 0; }
  state init(place = {}) const { return {}; }
  void step(context&, state&, row_in<M>, row_out<M>) const noexcept {}
};

template <class Near, class Far, class Gate, class Input>
struct windowed_state {
  Near near;
  Far far;
  Gate gate;
  buffer<Input> rows;  // [window, d_in] slot t mod window: row t
  index_t seen = 0;

  friend bool operator==(const windowed_state&, const windowed_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("near", s.near...);
    f("far", s.far...);
    f("gate", s.gate...);
    f("rows", s.rows...);
    f("seen", s.seen...);
  }
};

// A window of the latest W tokens, and a longer memory of those that have left it.
//   e = t - W.  e < n:  y_t = near(x_t).  Else x_e goes to far, and
//   y_t = near(x_t) + g s_t far(x_e)        recall::leaving
//   y_t = near(x_t) + g s_t read far(x_t)   recall::newest
//   s_t = sigmoid(gate(x_t)), one number for every d_out / gate.d_out() neighbouring channels; no gate: 1
// Every token is a sink, in the window or has gone to far, once and in order. Near sees all tokens and shall
// forget by itself what leaves: attention that appends before it reads spans W rows with a capacity of W - 1.
// Who is read takes x_t for the row after the one that left: no matter, unless it convolves its queries or
// counts positions. A gate may be any memory and sees all tokens: a linear layer is a learned gate, of all
// channels, of heads or of each channel as it has one, H or d_out rows. end_segment reaches all parts; the
// window keeps its rows.
// Cost per token: near, far, gate and one row copied. State: of near, of far, of gate, W rows.
// Source: Fang et al., "Artificial Hippocampus Networks for Efficient Long-Context Modeling", 2025.
// Deviations: far brings its own projections and reads rows, not the keys and values of near. s_t is said by
// the token; the published code has no such factor, or a sigmoid of the position, and in the output norm of
// far a silu gate per head.
template <recall How, Memory Near, SameRows<Near> Far, SameRows<Near> Gate = no_gate<Near>>
  requires std::same_as<space_t<Near>, host> && (How == recall::leaving || Readable<Far>)
class windowed_of {
 public:
  using scalar = scalar_t<Near>;
  using input = input_t<Near>;
  using state = windowed_state<state_t<Near>, state_t<Far>, state_t<Gate>, input>;
  static constexpr bool row_stable =
      mneme::row_stable<Near> && mneme::row_stable<Far> && mneme::row_stable<Gate>;

  // Fails unless window >= 1, sinks >= 0, near and far have one shape, the gate reads their rows and gives as
  // many numbers as divide d_out, and a far that is to be read can be.
  windowed_of(windowed_config c, Near near, Far far, Gate gate = {})
      : config_(c), near_(std::move(near)), far_(std::move(far)), gate_(std::move(gate)) {
    if (c.window < 1 || c.sinks < 0)
      fail(message("windowed: window is ", c.window, ", sinks is ", c.sinks, ", expected at least 1 and 0"));
    if (far_.d_in() != near_.d_in() || far_.d_out() != near_.d_out())
      fail(message("windowed: near maps rows of ", near_.d_in(), " to ", near_.d_out(), ", far rows of ",
                   far_.d_in(), " to ", far_.d_out()));
    if (gated && (gate_.d_in() != d_in() || gate_.d_out() < 1 || d_out() % gate_.d_out() != 0))
      fail(message("windowed: the gate maps rows of ", gate_.d_in(), " to ", gate_.d_out(), ", expected ",
                   d_in(), " to a divisor of ", d_out()));
    if (How == recall::newest && !is_readable(far_))
      fail(message("windowed: the longer memory is not readable"));
  }

  index_t d_in() const { return near_.d_in(); }
  index_t d_out() const { return near_.d_out(); }
  const Near& near() const { return near_; }
  const Far& far() const { return far_; }
  const Gate& gate() const { return gate_; }
  const windowed_config& configuration() const { return config_; }
  index_t vocabulary() const
    requires requires(const Near& m) { m.vocabulary(); }
  {
    return near_.vocabulary();
  }

  state init(place where = {}) const {
    return {near_.init(where), far_.init(where), gate_.init(where),
            buffer<input>(config_.window * d_in(), input{}, where), 0};
  }
  void step(context& ctx, state& s, row_in<Near> x, row_out<Near> y) const noexcept {
    near_.step(ctx, s.near, x, y);
    push(ctx, s, mat_in<Near>(x), mat_out<Near>(y));
  }
  void scan(context& ctx, state& s, mat_in<Near> X, mat_out<Near> Y) const {
    for_row_blocks(ctx.block_rows, X, Y, [&](mat_in<Near> x, mat_out<Near> y) {
      mneme::scan(near_, ctx, s.near, x, y);
      push(ctx, s, x, y);
    });
  }
  // Near serves all lanes at once, far and gate one after the other.
  void scan_many(context& ctx, lanes_of<windowed_of> lanes, mat_in<Near> X, mat_out<Near> Y) const {
    context::frame scratch(ctx);
    const auto inner = scratch.template row<lane<state_t<Near>>>(static_cast<index_t>(lanes.size()));
    index_t i = 0;
    for (const auto& l : lanes) inner[i++] = {&l.state->near, l.rows, l.outs};
    mneme::scan_many(near_, ctx, lanes_of<Near>(inner.data(), lanes.size()), X, Y);
    for_lanes(lanes, [&](const auto& l, index_t x, index_t y) {
      push(ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
    });
  }

  bool reserve(state& s, index_t n) const
    requires(Growing<Near> || Growing<Far> || Growing<Gate>)
  {
    return mneme::reserve(near_, s.near, n) && mneme::reserve(far_, s.far, n) &&
           mneme::reserve(gate_, s.gate, n);
  }
  void end_segment(context& ctx, state& s) const
    requires(Segmented<Near> || Segmented<Far> || Segmented<Gate>)
  {
    mneme::end_segment(near_, ctx, s.near);
    mneme::end_segment(far_, ctx, s.far);
    mneme::end_segment(gate_, ctx, s.gate);
  }
  bool valid(const state& s) const {
    return mneme::valid(near_, s.near) && mneme::valid(far_, s.far) && mneme::valid(gate_, s.gate) &&
           s.rows.size() == config_.window * d_in() && s.seen >= 0;
  }

  // The weights of the parts by reference, visited as "near", "far", "gate".
  auto weights() { return all(near_, far_, gate_); }
  auto weights() const { return all(near_, far_, gate_); }

 private:
  static constexpr bool gated = !std::same_as<Gate, no_gate<Near>>;

  template <class A, class B, class C>
  struct all_weights {
    using composed_fields = void;
    A near;
    B far;
    C gate;
    static constexpr void fields(auto&& f, auto&... w) {
      f("near", w.near...);
      f("far", w.far...);
      f("gate", w.gate...);
    }
  };
  static auto all(auto& a, auto& b, auto& c) {
    return all_weights<decltype(weights_of(a)), decltype(weights_of(b)), decltype(weights_of(c))>{
        weights_of(a), weights_of(b), weights_of(c)};
  }

  // The next rows enter the window; those that leave it go to far, whose answers are added to Y.
  void push(context& ctx, state& s, mat_in<Near> X, mat_out<Near> Y) const {
    const index_t W = config_.window, T = X.rows(), first = std::max(s.seen - W, config_.sinks);
    const auto row_at = [&](index_t t) { return s.rows.data() + t % W * d_in(); };
    context::frame scratch(ctx);
    const auto rows = scratch.template mat<input>(T, d_in());
    index_t left = 0;
    for (index_t t = first; t < s.seen + T - W; ++t) {
      const input* from = t < s.seen ? row_at(t) : X[t - s.seen].data();
      std::copy_n(from, d_in(), rows[left++].begin());
    }
    for (index_t t = std::max(T - W, index_t{0}); t < T; ++t)
      std::copy(X[t].begin(), X[t].end(), row_at(s.seen + t));
    s.seen += T;
    const auto G = scratch.template mat<scalar>(Y.rows(), gate_.d_out());
    if constexpr (gated) mneme::scan(gate_, ctx, s.gate, X, G);
    answer(ctx, s, ctx.preparing ? X : mat_in<Near>(rows.first(left)), X, G, Y);
  }
  // Feeds far; adds to Y, as the gate says in G, its answers for the latest rows of `left` and of X.
  void answer(context& ctx, state& s, mat_in<Near> left, mat_in<Near> X, mat_view<const scalar> G,
              mat_out<Near> Y) const {
    const index_t outs = std::min(Y.rows(), left.rows());
    const auto to = Y.last(outs);
    const auto open = G.last(outs);
    context::frame scratch(ctx);
    const auto M = scratch.template mat<scalar>(How == recall::leaving ? Y.rows() : 1, d_out());
    if constexpr (How == recall::leaving) {
      mneme::scan(far_, ctx, s.far, left, M.first(outs));
      for (index_t i = 0; i < outs; ++i) add(ctx, open[i], M[i], to[i]);
    } else {
      mneme::observe(far_, ctx, s.far, ctx.preparing ? left : left.first(left.rows() - outs));
      for (index_t i = 0; i < outs; ++i) {
        far_.step(ctx, s.far, left.last(outs)[i], M[0]);
        far_.read(ctx, s.far, X.last(outs)[i], M[0]);
        add(ctx, open[i], M[0], to[i]);
      }
    }
  }
  // y += g sigmoid(gate) m
  void add(context& ctx, row_view<const scalar> gate, row_view<const scalar> m, row_view<scalar> y) const {
    const auto g = static_cast<scalar>(config_.far_scale);
    if constexpr (!gated) return add_scaled_row<scalar>(ctx, g, m, y);
    for (index_t i = 0, n = y.size() / gate.size(); i < gate.size(); ++i) {
      const auto s = static_cast<scalar>(1 / (1 + std::exp(-static_cast<double>(gate[i]))));
      add_scaled_row<scalar>(ctx, g * s, m.sub(i * n, n), y.sub(i * n, n));
    }
  }

  windowed_config config_;
  Near near_;
  Far far_;
  Gate gate_;
};

// windowed(config, near, far), windowed(config, near, far, gate); either with <recall::newest>.
template <recall How = recall::leaving, Memory Near, SameRows<Near> Far, SameRows<Near> Gate = no_gate<Near>>
  requires std::same_as<space_t<Near>, host> && (How == recall::leaving || Readable<Far>)
windowed_of<How, Near, Far, Gate> windowed(windowed_config c, Near near, Far far, Gate gate = {}) {
  return windowed_of<How, Near, Far, Gate>(c, std::move(near), std::move(far), std::move(gate));
}

}  // namespace mneme::inline MNEME_ABI
