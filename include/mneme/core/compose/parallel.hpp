// SPDX-License-Identifier: Apache-2.0
// parallel(a, b, ...): all parts read the same rows; their outputs are summed or put side by side.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

namespace mneme::inline MNEME_ABI {

enum class join {
  sum,     // y = a(x) + b(x) + ..., in this order; parts of one output width
  concat,  // y = [a(x), b(x), ...]
};

// Parts side by side on the same rows, their outputs summed or joined.
//   y = m_0(x) + m_1(x) + ..        join::sum
//   y = [m_0(x), m_1(x), ..]        join::concat
// Token ids are read where all parts read them.
// Cost per token: the parts. State: the states of the parts, "0", "1", ...
template <join How, Memory M, SameRows<M>... Ms>
class parallel_of {
  using all = std::tuple<M, Ms...>;
  template <std::size_t I>
  using part_t = std::tuple_element_t<I, all>;

 public:
  using scalar = scalar_t<M>;
  using input = input_t<M>;
  using space = space_t<M>;
  using state = group<state_t<M>, state_t<Ms>...>;
  static constexpr bool row_stable = mneme::row_stable<M> && (mneme::row_stable<Ms> && ...);

  // Fails if the parts take rows of different widths, or give different widths that are to be summed.
  explicit parallel_of(M first, Ms... others) : parts_(std::move(first), std::move(others)...) {
    for_parts([&]<std::size_t I>(const auto& m) {
      if (m.d_in() != d_in())
        fail(message("parallel: part ", I, " takes rows of ", m.d_in(), ", part 0 takes ", d_in()));
      if (How == join::sum && m.d_out() != part<0>().d_out())
        fail(message("parallel: part ", I, " gives rows of ", m.d_out(), ", part 0 gives ",
                     part<0>().d_out()));
    });
  }

  index_t d_in() const { return part<0>().d_in(); }
  index_t d_out() const {
    if constexpr (How == join::sum) return part<0>().d_out();
    return std::apply([](const auto&... m) { return (m.d_out() + ...); }, parts_);
  }
  template <std::size_t I>
  const auto& part() const {
    return std::get<I>(parts_);
  }
  index_t vocabulary() const
    requires requires(const M& m) { m.vocabulary(); }
  {
    return part<0>().vocabulary();
  }

  state init(place_in<space> where = {}) const {
    return std::apply([&](const auto&... m) { return state{{m.init(where)...}}; }, parts_);
  }

  void step(context_of<M>& ctx, state& s, row_in<M> x, row_out<M> y) const noexcept {
    join_parts(ctx, mat_out<M>(y), [&]<std::size_t I>(const auto& m, mat_out<M> out) {
      m.step(ctx, std::get<I>(s.parts), x, out[0]);
    });
  }
  void scan(context_of<M>& ctx, state& s, mat_in<M> X, mat_out<M> Y) const {
    for_row_blocks(ctx.block_rows, X, Y, [&](mat_in<M> x, mat_out<M> y) {
      join_parts(ctx, y, [&]<std::size_t I>(const auto& m, mat_out<M> out) {
        mneme::scan(m, ctx, std::get<I>(s.parts), x, out);
      });
    });
  }
  void scan_many(context_of<M>& ctx, lanes_of<parallel_of> lanes, mat_in<M> X, mat_out<M> Y) const {
    join_parts(ctx, Y, [&]<std::size_t I>(const auto& m, mat_out<M> out) {
      using inner_lane = lane<state_t<part_t<I>>>;
      typename context_of<M>::frame scratch(ctx);
      const auto inner = scratch.template row<inner_lane>(static_cast<index_t>(lanes.size()));
      index_t i = 0;
      for (const auto& l : lanes) inner[i++] = {&std::get<I>(l.state->parts), l.rows, l.outs};
      mneme::scan_many(m, ctx, std::span<const inner_lane>(inner.data(), lanes.size()), X, out);
    });
  }

  bool reserve(state& s, index_t n) const
    requires(Growing<M> || (Growing<Ms> || ...))
  {
    bool all_did = true;
    for_parts([&]<std::size_t I>(const auto& m) {
      all_did = all_did && mneme::reserve(m, std::get<I>(s.parts), n);
    });
    return all_did;
  }
  void end_segment(context_of<M>& ctx, state& s) const
    requires(Segmented<M> || (Segmented<Ms> || ...))
  {
    for_parts([&]<std::size_t I>(const auto& m) { mneme::end_segment(m, ctx, std::get<I>(s.parts)); });
  }
  bool valid(const state& s) const {
    bool all_are = true;
    for_parts(
        [&]<std::size_t I>(const auto& m) { all_are = all_are && mneme::valid(m, std::get<I>(s.parts)); });
    return all_are;
  }

  // The weights of the parts by reference, visited as "0", "1", ...
  auto weights() {
    return std::apply([](auto&... m) { return group<decltype(weights_of(m))...>{{weights_of(m)...}}; },
                      parts_);
  }
  auto weights() const {
    return std::apply([](auto&... m) { return group<decltype(weights_of(m))...>{{weights_of(m)...}}; },
                      parts_);
  }

 private:
  // f<I>(part) in order.
  template <class F>
  void for_parts(F&& f) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f.template operator()<I>(std::get<I>(parts_)), ...);
    }(std::make_index_sequence<1 + sizeof...(Ms)>{});
  }
  // f<I>(part, rows that receive its outputs): the columns of the part, or rows that are then added to Y.
  template <class F>
  void join_parts(context_of<M>& ctx, mat_out<M> Y, F&& f) const {
    typename context_of<M>::frame scratch(ctx);
    const bool sums = How == join::sum && sizeof...(Ms) > 0;
    const auto H = scratch.template mat<scalar>(sums ? Y.rows() : 0, d_out());
    index_t column = 0;
    for_parts([&]<std::size_t I>(const auto& m) {
      if constexpr (How == join::concat) {
        const index_t width = m.d_out();
        f.template operator()<I>(m, Y.rows() > 0 ? Y.columns(column, width) : mat_out<M>(nullptr, 0, width));
        column += width;
      } else if constexpr (I == 0) {
        f.template operator()<I>(m, Y);
      } else {
        f.template operator()<I>(m, H);
        add_rows<scalar>(ctx, H, Y);
      }
    });
  }

  all parts_;
};

// parallel(a, b) sums, parallel<join::concat>(a, b) puts side by side. (The deduced type lets clang name the
// concept that is not met.)
template <join How = join::sum, Memory M, SameRows<M>... Ms>
auto parallel(M first, Ms... others) {
  return parallel_of<How, M, Ms...>(std::move(first), std::move(others)...);
}

}  // namespace mneme::inline MNEME_ABI
