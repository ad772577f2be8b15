// SPDX-License-Identifier: Apache-2.0
// matrix_mixer: the base of memories whose past is a matrix per head, written by one rule of the recurrence
// family.
#pragma once
#include "../../backend/cpu/recurrence.hpp"
#include "mixer.hpp"

namespace mneme::inline MNEME_ABI::detail {

// Value head h reads key head floor(h key_heads / heads).
struct matrix_shape {
  index_t heads, key_heads, K, V;
};

// q <- q / sqrt(K)
template <class Arch, class T>
void scale_queries(mat_view<T> q, index_t K) noexcept {
  map_rows<Arch>(q, [scale = T(1) / std::sqrt(static_cast<T>(K))]<class P>(P a) { return a * P(scale); });
}

// The state of a member that keeps nothing else.
template <class T>
struct matrix_state {
  buffer<T> S;  // [heads, K, V]
  friend bool operator==(const matrix_state&, const matrix_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) { f("state", s.S...); }
};

// A member M of the family with rule R writes, besides what a mixer writes,
//   static matrix_shape shape(const config&)
//   operands(ctx, scratch, lanes, X) -> recurrence_rows<T>, or a struct derived from it that brings what
//       output wants: q of the packed outputs, all else of all packed rows
//   output(ctx, scratch, lanes, operands, X, o, Y): from o, of the packed outputs, to Y
// and keeps its matrix as member S of its state.
template <class M, class T, class Backend, rule R, class Config, class Params>
class matrix_mixer : public mixer<M, T, Backend, Config, Params> {
  using base = mixer<M, T, Backend, Config, Params>;

 public:
  using base::base;

  // Projections read their weights once for all lanes; the recurrence goes lane by lane.
  template <class S>
  void scan_many(context& ctx, std::span<const lane<S>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const M& self = static_cast<const M&>(*this);
    const matrix_shape shape = M::shape(this->config_);
    const auto in = self.operands(ctx, scratch, lanes, X);
    const auto o = scratch.template mat<T>(Y.rows(), shape.heads * shape.V);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      run_heads<R, Backend>(ctx, shape.heads, shape.key_heads, l.state->S.data(),
                            part(in, row, row + l.rows, out, out + l.outs), o.range(out, out + l.outs));
    });
    if (Y.rows() > 0) self.output(ctx, scratch, lanes, in, X, o, Y);
  }

 protected:
  static buffer<T> empty_matrix(const matrix_shape& shape, place where) {
    return buffer<T>(shape.heads * shape.K * shape.V, T(0), where);
  }

 private:
  // Tokens [from, to), outputs [out, end).
  static recurrence_rows<T> part(const recurrence_rows<T>& in, index_t from, index_t to, index_t out,
                                 index_t end) {
    const auto rows = [&](mat_view<const T> X) { return X.cols() > 0 ? X.range(from, to) : X; };
    return {.q = in.q.range(out, end),
            .k = rows(in.k),
            .v = rows(in.v),
            .alpha = rows(in.alpha),
            .beta = rows(in.beta),
            .a = rows(in.a),
            .b = rows(in.b)};
  }
};

}  // namespace mneme::inline MNEME_ABI::detail
