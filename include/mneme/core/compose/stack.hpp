// SPDX-License-Identifier: Apache-2.0
// stack(vector of blocks): like blocks one after the other, their number known at run time.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

namespace mneme::inline MNEME_ABI {

// Like blocks one after the other, their number known at run time.
//   y = m_n(... m_1(m_0(x)))
// Cost per token: the blocks. State: the states of the blocks, "0", "1", ...
template <Memory M>
  requires std::same_as<input_t<M>, scalar_t<M>>
class stack_of {
 public:
  using scalar = scalar_t<M>;
  using space = space_t<M>;
  using state = many<state_t<M>>;
  static constexpr bool row_stable = mneme::row_stable<M>;

  // Fails if there is no block, or if the blocks do not all map rows of one width to that width.
  explicit stack_of(std::vector<M> blocks) : blocks_(std::move(blocks)) {
    if (blocks_.empty()) fail(message("stack: expected at least one block"));
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (blocks_[i].d_in() != d_in() || blocks_[i].d_out() != d_in())
        fail(message("stack: block ", i, " maps rows of ", blocks_[i].d_in(), " to ", blocks_[i].d_out(),
                     ", expected ", d_in(), " to ", d_in()));
  }

  index_t d_in() const { return blocks_.front().d_in(); }
  index_t d_out() const { return d_in(); }
  const std::vector<M>& blocks() const { return blocks_; }
  state init(place_in<space> where = {}) const {
    state s;
    s.items.reserve(blocks_.size());
    for (const M& m : blocks_) s.items.push_back(m.init(where));
    return s;
  }

  void step(context_of<M>& ctx, state& s, row_in<M> x, row_out<M> y) const noexcept {
    typename context_of<M>::frame scratch(ctx);
    const row_out<M> h[2] = {scratch.template row<scalar>(d_in()), scratch.template row<scalar>(d_in())};
    through(x, y, h, [&](std::size_t i, auto in, auto out) { blocks_[i].step(ctx, s.items[i], in, out); });
  }
  void scan(context_of<M>& ctx, state& s, mat_in<M> X, mat_out<M> Y) const {
    for_row_blocks(ctx.block_rows, X, Y, [&](mat_in<M> x, mat_out<M> y) {
      typename context_of<M>::frame scratch(ctx);
      const mat_out<M> h[2] = {scratch.template mat<scalar>(x.rows(), d_in()),
                               scratch.template mat<scalar>(x.rows(), d_in())};
      through(x, y, h,
              [&](std::size_t i, auto in, auto out) { mneme::scan(blocks_[i], ctx, s.items[i], in, out); });
    });
  }
  void scan_many(context_of<M>& ctx, lanes_of<stack_of> lanes, mat_in<M> X, mat_out<M> Y) const {
    typename context_of<M>::frame scratch(ctx);
    const mat_out<M> h[2] = {scratch.template mat<scalar>(X.rows(), d_in()),
                             scratch.template mat<scalar>(X.rows(), d_in())};
    const auto inner = scratch.template row<lane<state_t<M>>>(static_cast<index_t>(lanes.size()));
    through(X, Y, h, [&](std::size_t i, auto in, auto out) {
      index_t n = 0;
      for (const auto& l : lanes)
        inner[n++] = {&l.state->items[i], l.rows, i + 1 == blocks_.size() ? l.outs : l.rows};
      mneme::scan_many(blocks_[i], ctx, lanes_of<M>(inner.data(), lanes.size()), in, out);
    });
  }

  bool reserve(state& s, index_t n) const
    requires Growing<M>
  {
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (!blocks_[i].reserve(s.items[i], n)) return false;
    return true;
  }
  void end_segment(context_of<M>& ctx, state& s) const
    requires Segmented<M>
  {
    for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].end_segment(ctx, s.items[i]);
  }

  bool valid(const state& s) const {
    if (s.items.size() != blocks_.size()) return false;
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (!mneme::valid(blocks_[i], s.items[i])) return false;
    return true;
  }

  // The weights of the blocks by reference, visited as "0", "1", ...
  auto weights() { return weights_list(blocks_); }
  auto weights() const { return weights_list(blocks_); }

 private:
  // apply(i, in, out) for every block, alternating between two scratch rows or matrices.
  template <class In, class Out, class F>
  void through(In x, Out y, const Out (&h)[2], F&& apply) const {
    In in = x;
    for (std::size_t i = 0; i + 1 < blocks_.size(); ++i) {
      apply(i, in, h[i % 2]);
      in = h[i % 2];
    }
    apply(blocks_.size() - 1, in, y);
  }

  std::vector<M> blocks_;
};

template <Memory M>
stack_of<M> stack(std::vector<M> blocks) {
  return stack_of<M>(std::move(blocks));
}

}  // namespace mneme::inline MNEME_ABI
