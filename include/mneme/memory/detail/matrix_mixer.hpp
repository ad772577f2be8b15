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

// What is wrong with the heads of a config. half: a key is half as wide as a value unless the config says it.
template <class Config>
status check_heads(const char* memory, const Config& c, bool half = false) {
  return expect_heads(memory, c.d_model, c.heads,
                      {{"head_dim_k", c.head_dim_k, half}, {"head_dim_v", c.head_dim_v}});
}

// q <- q / sqrt(K)
template <class Arch, class T>
void scale_queries(mat_view<T> q, index_t K) noexcept {
  map_rows<Arch>(q, [scale = T(1) / std::sqrt(static_cast<T>(K))]<class P>(P a) { return a * P(scale); });
}

// The state of a member that keeps nothing else.
template <class Stored>
struct matrix_state {
  buffer<Stored> S;  // [heads, K, V]
  friend bool operator==(const matrix_state&, const matrix_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) { f("state", s.S...); }
};

// A member M of the family with rule R writes, besides what a mixer writes,
//   static matrix_shape shape(const config&)
//   operands(ctx, scratch, lanes, X) -> recurrence_rows<T>, or a struct derived from it that brings what
//       output wants: q of the packed outputs, all else of all packed rows
//   output(ctx, scratch, lanes, operands, X, o, Y): from o, of the packed outputs, to Y
// and, to be readable,
//   asked(ctx, scratch, const state&, x) -> what operands gives, but of a row that leaves no trace: q and
//       what output wants of it, k and the rest empty
// and keeps its matrix as member S, a buffer<Stored>, of its state. Stored is T or bfloat16; whatever else a
// state holds is of T.
template <class M, class T, class Backend, rule R, class Config, class Params, class Stored>
class matrix_mixer : public mixer<M, T, Backend, Config, Params> {
  using base = mixer<M, T, Backend, Config, Params>;

 public:
  using base::base;
  // What storing the matrix rounds off, relative.
  static constexpr double storage_epsilon = std::is_same_v<Stored, T> ? 0 : storage_rounding(dtype::bf16);

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

  // What the past, as it stands, recalls for x:  o = S^T q, then norm, gate and projection as ever. It is the
  // answer that x would get as the next token, but without anything of its own: no write, no decay, no bonus
  // or feed-through beside the state; sums that normalise are those of the past. Positions are those of the
  // next token; convolutions and token shifts see the rows before it and x, and do not keep x.
  // Cost: 2 H K V flops, and those projections that make queries, gates and outputs.
  template <class S>
    requires requires(const M& m, context& ctx, context::frame& scratch, const S& s, mat_view<const T> x) {
      m.asked(ctx, scratch, s, x);
    }
  void read(context& ctx, const S& s, row_view<const T> x, row_view<T> y) const noexcept {
    context::frame scratch(ctx);
    const M& self = static_cast<const M&>(*this);
    const mat_view<const T> X(x);
    const auto in = self.asked(ctx, scratch, s, X);
    const auto o = recalled(scratch, s.S, in.q[0]);
    const lane<S> one{nullptr, 1, 1};  // output asks lanes for their rows, not for their states
    self.output(ctx, scratch, std::span<const lane<S>>(&one, 1), in, X, o, mat_view<T>(y));
  }

 protected:
  static buffer<Stored> empty_matrix(const matrix_shape& shape, place where) {
    return buffer<Stored>(shape.heads * shape.K * shape.V, Stored{}, where);
  }

 private:
  // S^T q of every head.
  mat_view<T> recalled(context::frame& scratch, const buffer<Stored>& S, row_view<const T> q) const noexcept {
    const auto [heads, key_heads, K, V] = M::shape(this->config_);
    const auto o = scratch.template mat<T>(1, heads * V);
    std::fill(o[0].begin(), o[0].end(), T(0));
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < K; ++i)
        for_packs<T, typename base::arch>(
            V, [&, weight = q[h * key_heads / heads * K + i], row = S.data() + (h * K + i) * V,
                sums = o[0].data() + h * V]<class P>(index_t j) {
              simd::store(sums + j, simd::fma(P(weight), simd::load<P>(row + j), simd::load<P>(sums + j)));
            });
    return o;
  }
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
