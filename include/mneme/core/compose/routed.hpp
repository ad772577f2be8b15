// SPDX-License-Identifier: Apache-2.0
// routed(router, k, members): every token is for the k members that the router scores highest.
#pragma once
#include "../error.hpp"
#include "../lane_wise.hpp"
#include "../scan.hpp"
#include "group.hpp"

#include <cmath>
#include <limits>

namespace mneme::inline MNEME_ABI {

template <class R, class M>
struct routed_state {
  R router;
  many<M> members;

  friend bool operator==(const routed_state&, const routed_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("router", s.router...);
    f("members", s.members...);
  }
};

// A mixture of memories: every token is for the k members that the router scores highest.
//   r = router(x) [members];  C = the k members of the largest r, ties by index;  w = softmax of r over C
//   y = sum_{e in C} w_e m_e(x), in the order of e
// A member sees the tokens that are for it, one after the other, and no others: a token leaves the states of
// the rest as they are, to the bit. Scores that are NaN count as the lowest.
// A text or a batch is gathered by member, so that each member is scanned once. Who is not row-stable is
// stepped token by token instead: which tokens come together depends on later tokens and on other streams.
// Hence row-stable.
// Cost per token: the router and k members. State: the states of all, "router", "members.0", ...
// Source: Du et al., "MoM: Linear Sequence Modeling with Mixture-of-Memories", 2025. Deviations: members
// bring their own projections; a memory for all tokens is parallel(shared, routed(...)).
template <Memory R, SameRows<R> M>
  requires std::same_as<input_t<M>, scalar_t<M>> && std::same_as<space_t<M>, host>
class routed_of : public lane_wise<routed_of<R, M>, scalar_t<M>> {
  using T = scalar_t<M>;

 public:
  using state = routed_state<state_t<R>, state_t<M>>;
  static constexpr bool row_stable = true;

  // Fails unless 1 <= k <= the number of members, which the router gives one score each and which have one
  // shape.
  routed_of(R router, index_t k, std::vector<M> members)
      : router_(std::move(router)), k_(k), members_(std::move(members)) {
    if (k < 1 || k > count())
      fail(message("routed: k is ", k, ", expected 1 to the number of members, ", count()));
    if (router_.d_out() != count())
      fail(message("routed: the router gives ", router_.d_out(), " scores for ", count(), " members"));
    for (std::size_t e = 0; e < members_.size(); ++e)
      if (members_[e].d_in() != router_.d_in() || members_[e].d_out() != d_out())
        fail(message("routed: member ", e, " maps rows of ", members_[e].d_in(), " to ", members_[e].d_out(),
                     ", expected ", router_.d_in(), " to ", d_out()));
  }

  index_t d_in() const { return router_.d_in(); }
  index_t d_out() const { return members_.front().d_out(); }
  const R& router() const { return router_; }
  const std::vector<M>& members() const { return members_; }

  state init(place where = {}) const {
    state s{router_.init(where), {}};
    s.members.items.reserve(members_.size());
    for (const M& m : members_) s.members.items.push_back(m.init(where));
    return s;
  }

  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto W = scratch.template mat<T>(X.rows(), count());  // scores, then the weights of the chosen
    const auto chosen = scratch.template mat<std::uint8_t>(X.rows(), count());
    score(ctx, lanes, X, W);
    for (index_t t = 0; t < X.rows(); ++t) {
      choose(W[t], chosen[t]);
      if (ctx.preparing) std::fill(chosen[t].begin(), chosen[t].end(), std::uint8_t{1});
    }
    for (index_t t = 0; t < Y.rows(); ++t) std::fill(Y[t].begin(), Y[t].end(), T(0));
    for (index_t e = 0; e < count(); ++e) add_member(ctx, e, lanes, X, W, chosen, Y);
  }

  bool reserve(state& s, index_t n) const
    requires(Growing<R> || Growing<M>)
  {
    bool all_did = mneme::reserve(router_, s.router, n);
    for (std::size_t e = 0; e < members_.size(); ++e)
      all_did = all_did && mneme::reserve(members_[e], s.members.items[e], n);
    return all_did;
  }
  void end_segment(context& ctx, state& s) const
    requires(Segmented<R> || Segmented<M>)
  {
    mneme::end_segment(router_, ctx, s.router);
    for (std::size_t e = 0; e < members_.size(); ++e)
      mneme::end_segment(members_[e], ctx, s.members.items[e]);
  }
  bool valid(const state& s) const {
    bool all_are = mneme::valid(router_, s.router) && s.members.items.size() == members_.size();
    for (std::size_t e = 0; all_are && e < members_.size(); ++e)
      all_are = mneme::valid(members_[e], s.members.items[e]);
    return all_are;
  }

  // By reference, visited as "router", "members.0", ...
  auto weights() { return both(router_, members_); }
  auto weights() const { return both(router_, members_); }

 private:
  index_t count() const { return static_cast<index_t>(members_.size()); }
  template <class Router, class Members>
  struct both_weights {
    using composed_fields = void;
    Router router;
    Members members;
    static constexpr void fields(auto&& f, auto&... w) {
      f("router", w.router...);
      f("members", w.members...);
    }
  };
  static auto both(auto& router, auto& members) {
    return both_weights<decltype(weights_of(router)), decltype(weights_list(members))>{weights_of(router),
                                                                                       weights_list(members)};
  }

  // The lanes of one part; every row has the same bits whatever rows come with it.
  template <class P>
  static void scan_exactly(const P& part, context& ctx, lanes_of<P> lanes, mat_view<const T> X,
                           mat_view<T> Y) {
    if (is_row_stable(part)) return mneme::scan_many(part, ctx, lanes, X, Y);
    for_lanes(lanes, [&](const auto& l, index_t x, index_t y) {
      steps(part, ctx, *l.state, X.range(x, x + l.rows), Y.range(y, y + l.outs));
    });
  }
  void score(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
             mat_view<T> scores) const {
    context::frame scratch(ctx);
    const auto of_router = scratch.template row<lane<state_t<R>>>(static_cast<index_t>(lanes.size()));
    index_t i = 0;
    for (const auto& l : lanes) of_router[i++] = {&l.state->router, l.rows, l.rows};
    scan_exactly(router_, ctx, lanes_of<R>(of_router.data(), lanes.size()), X, scores);
  }
  // Marks the k highest of r and gives them their weights.
  void choose(row_view<T> r, row_view<std::uint8_t> chosen) const {
    const auto key = [&](index_t e) { return std::isnan(r[e]) ? -std::numeric_limits<T>::infinity() : r[e]; };
    std::fill(chosen.begin(), chosen.end(), std::uint8_t{0});
    double highest = 0, sum = 0;
    for (index_t i = 0; i < k_; ++i) {
      index_t best = -1;
      for (index_t e = 0; e < count(); ++e)
        if (!chosen[e] && (best < 0 || key(e) > key(best))) best = e;
      chosen[best] = 1;
      if (i == 0) highest = static_cast<double>(r[best]);
    }
    for (index_t e = 0; e < count(); ++e)
      if (chosen[e]) sum += std::exp(static_cast<double>(r[e]) - highest);
    for (index_t e = 0; e < count(); ++e)
      if (chosen[e]) r[e] = static_cast<T>(std::exp(static_cast<double>(r[e]) - highest) / sum);
  }
  // Y += w_e m_e(x) for the tokens that are for member e. Takes scratch for all rows: its size does not
  // depend on data.
  void add_member(context& ctx, index_t e, std::span<const lane<state>> lanes, mat_view<const T> X,
                  mat_view<const T> W, mat_view<const std::uint8_t> chosen, mat_view<T> Y) const {
    struct answer {
      index_t x, y;  // the row of X that it is for, the row of Y that it goes to
    };
    context::frame scratch(ctx);
    const auto own = scratch.template row<lane<state_t<M>>>(static_cast<index_t>(lanes.size()));
    const auto in = scratch.template mat<T>(X.rows(), d_in()),
               out = scratch.template mat<T>(Y.rows(), d_out());
    const auto answers = scratch.template row<answer>(Y.rows());
    index_t rows = 0, outs = 0;
    std::size_t used = 0;
    for_lanes(lanes, [&](const auto& l, index_t x, index_t y) {
      const index_t first_row = rows, first_out = outs, unread = l.rows - l.outs;
      for (index_t t = 0; t < l.rows; ++t) {
        if (!chosen[x + t][e]) continue;
        std::copy(X[x + t].begin(), X[x + t].end(), in[rows++].begin());
        if (t >= unread) answers[outs++] = {x + t, y + t - unread};
      }
      if (rows > first_row)
        own[static_cast<index_t>(used++)] = {&l.state->members.items[static_cast<std::size_t>(e)],
                                             rows - first_row, outs - first_out};
    });
    if (used == 0) return;
    scan_exactly(members_[static_cast<std::size_t>(e)], ctx, lanes_of<M>(own.data(), used), in.first(rows),
                 out.first(outs));
    for (index_t i = 0; i < outs; ++i) add_scaled_row<T>(ctx, W[answers[i].x][e], out[i], Y[answers[i].y]);
  }

  R router_;
  index_t k_;
  std::vector<M> members_;
};

template <Memory R, SameRows<R> M>
routed_of<R, M> routed(R router, index_t k, std::vector<M> members) {
  return routed_of<R, M>(std::move(router), k, std::move(members));
}

}  // namespace mneme::inline MNEME_ABI
