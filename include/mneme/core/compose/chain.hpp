// SPDX-License-Identifier: Apache-2.0
// chain(a, b, ...): b after a. A chain of memories is a memory.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

namespace mneme::inline MNEME_ABI {

// Parts one after the other.
//   y = m_n(... m_1(m_0(x)))
// Scans layer by layer over blocks of rows.
// Cost per token: the parts. State: the states of the parts, "0", "1", ...
template <Memory... Ms>
class chain_of {
  static_assert(sizeof...(Ms) > 0, "a chain has at least one part");
  static constexpr std::size_t last = sizeof...(Ms) - 1;
  template <std::size_t I>
  using part_t = std::tuple_element_t<I, std::tuple<Ms...>>;

 public:
  using scalar = scalar_t<part_t<last>>;
  using input = input_t<part_t<0>>;
  using space = space_t<part_t<0>>;
  using state = group<state_t<Ms>...>;
  static constexpr bool row_stable = (mneme::row_stable<Ms> && ...);

  // Fails if the output width of a part is not the input width of the next.
  explicit chain_of(Ms... parts) : parts_(std::move(parts)...) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (check_width<I>(), ...);
    }(std::make_index_sequence<last>{});
  }

  index_t d_in() const { return part<0>().d_in(); }
  index_t d_out() const { return part<last>().d_out(); }
  template <std::size_t I>
  const auto& part() const {
    return std::get<I>(parts_);
  }
  index_t vocabulary() const
    requires requires(const part_t<0>& m) { m.vocabulary(); }
  {
    return part<0>().vocabulary();
  }

  state init(place_in<space> where = {}) const {
    return std::apply([&](const Ms&... m) { return state{{m.init(where)...}}; }, parts_);
  }

  void step(context_of<chain_of>& ctx, state& s, row_in<chain_of> x, row_out<chain_of> y) const noexcept {
    step_from<0>(ctx, s, x, y);
  }
  void scan(context_of<chain_of>& ctx, state& s, mat_in<chain_of> X, mat_out<chain_of> Y) const {
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { scan_from<0>(ctx, s, x, y); });
  }
  void scan_many(context_of<chain_of>& ctx, lanes_of<chain_of> lanes, mat_in<chain_of> X,
                 mat_out<chain_of> Y) const {
    scan_many_from<0>(ctx, lanes, X, Y);
  }

  bool reserve(state& s, index_t n) const
    requires(Growing<Ms> || ...)
  {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (mneme::reserve(part<I>(), std::get<I>(s.parts), n) && ...);
    }(std::index_sequence_for<Ms...>{});
  }
  void end_segment(context_of<chain_of>& ctx, state& s) const
    requires(Segmented<Ms> || ...)
  {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (mneme::end_segment(part<I>(), ctx, std::get<I>(s.parts)), ...);
    }(std::index_sequence_for<Ms...>{});
  }

  bool valid(const state& s) const {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (mneme::valid(part<I>(), std::get<I>(s.parts)) && ...);
    }(std::index_sequence_for<Ms...>{});
  }

  // The weights of the parts by reference, visited as "0", "1", ...
  auto weights() {
    return std::apply([](Ms&... m) { return group<decltype(weights_of(m))...>{{weights_of(m)...}}; }, parts_);
  }
  auto weights() const {
    return std::apply([](const Ms&... m) { return group<decltype(weights_of(m))...>{{weights_of(m)...}}; },
                      parts_);
  }

 private:
  template <std::size_t I>
  void check_width() const {
    if (part<I>().d_out() != part<I + 1>().d_in())
      fail(message("chain: part ", I, " gives rows of ", part<I>().d_out(), ", part ", I + 1, " takes ",
                   part<I + 1>().d_in()));
  }

  template <std::size_t I>
  void step_from(context_of<chain_of>& ctx, state& s, auto x, row_out<chain_of> y) const noexcept {
    if constexpr (I == last) {
      part<I>().step(ctx, std::get<I>(s.parts), x, y);
    } else {
      typename context_of<chain_of>::frame scratch(ctx);
      const auto h = scratch.template row<scalar_t<part_t<I>>>(part<I>().d_out());
      part<I>().step(ctx, std::get<I>(s.parts), x, h);
      step_from<I + 1>(ctx, s, row_in<part_t<I + 1>>(h), y);
    }
  }
  template <std::size_t I>
  void scan_from(context_of<chain_of>& ctx, state& s, auto X, mat_out<chain_of> Y) const {
    if constexpr (I == last) {
      mneme::scan(part<I>(), ctx, std::get<I>(s.parts), X, Y);
    } else {
      typename context_of<chain_of>::frame scratch(ctx);
      const auto H = scratch.template mat<scalar_t<part_t<I>>>(X.rows(), part<I>().d_out());
      mneme::scan(part<I>(), ctx, std::get<I>(s.parts), X, H);
      scan_from<I + 1>(ctx, s, mat_in<part_t<I + 1>>(H), Y);
    }
  }
  // Inner parts give all rows; only the last part drops the outputs that no lane wants.
  template <std::size_t I>
  void scan_many_from(context_of<chain_of>& ctx, lanes_of<chain_of> lanes, auto X,
                      mat_out<chain_of> Y) const {
    typename context_of<chain_of>::frame scratch(ctx);
    const auto inner = scratch.template row<lane<state_t<part_t<I>>>>(static_cast<index_t>(lanes.size()));
    index_t i = 0;
    for (const auto& l : lanes)
      inner[i++] = {&std::get<I>(l.state->parts), l.rows, I == last ? l.outs : l.rows};
    const lanes_of<part_t<I>> inner_lanes(inner.data(), lanes.size());
    if constexpr (I == last) {
      mneme::scan_many(part<I>(), ctx, inner_lanes, X, Y);
    } else {
      const auto H = scratch.template mat<scalar_t<part_t<I>>>(X.rows(), part<I>().d_out());
      mneme::scan_many(part<I>(), ctx, inner_lanes, X, H);
      scan_many_from<I + 1>(ctx, lanes, mat_in<part_t<I + 1>>(H), Y);
    }
  }

  std::tuple<Ms...> parts_;
};

// A factory, not deduction of chain_of(...): chain(chain(m)) must stay two chains.
template <Memory... Ms>
chain_of<Ms...> chain(Ms... parts) {
  return chain_of<Ms...>(std::move(parts)...);
}

}  // namespace mneme::inline MNEME_ABI
