// SPDX-License-Identifier: Apache-2.0
// delta_projection: queries, keys, values and write strengths of delta rules, and the state behind them.
#pragma once
#include "../../backend/cpu/matmul.hpp"
#include "../../backend/cpu/rms_norm.hpp"
#include "conv_projection.hpp"
#include "head_norm.hpp"
#include "matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI::detail {

template <class T>
struct delta_state {
  buffer<T> q_conv, k_conv, v_conv;  // [conv_size - 1, channels]: last projected rows, oldest first; or empty
  buffer<T> S;                       // [Hv, K, V]
  friend bool operator==(const delta_state&, const delta_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("q_conv", s.q_conv...);
    f("k_conv", s.k_conv...);
    f("v_conv", s.v_conv...);
    f("state", s.S...);
  }
};

//   q, k, v = silu(conv(W_q x)), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short convolution
//   per head: k <- k / |k|, q <- q / |q| / sqrt(K);  beta = sigmoid(W_b x), twice that if allow_neg_eigval
// The config has d_model, use_short_conv, conv_size, allow_neg_eigval, storage; the tensors are q_proj,
// k_proj, v_proj, b_proj and, where there are convolutions, q_conv1d, k_conv1d, v_conv1d. What is kept here
// are tables derived from the latter.
template <class T, class Backend, class Config, class Params>
class delta_projection {
  using conv = conv_projection<T, Backend>;

 public:
  explicit delta_projection(const Params& p) : q_(p.q_conv1d), k_(p.k_conv1d), v_(p.v_conv1d) {}

  static void add_tensors(tensor_plan<Params>& t, const Config& c, const matrix_shape& s) {
    const index_t q = s.key_heads * s.K, v = s.heads * s.V;
    t.add(&Params::q_proj, {q, c.d_model}, c.storage);
    t.add(&Params::k_proj, {q, c.d_model}, c.storage);
    t.add(&Params::v_proj, {v, c.d_model}, c.storage);
    t.add(&Params::b_proj, {s.heads, c.d_model}, c.storage);
    if (!c.use_short_conv) return;
    t.add(&Params::q_conv1d, {q, 1, c.conv_size});
    t.add(&Params::k_conv1d, {q, 1, c.conv_size});
    t.add(&Params::v_conv1d, {v, 1, c.conv_size});
  }
  static delta_state<T> empty(const Config& c, const matrix_shape& s, place where) {
    const index_t past = c.use_short_conv ? c.conv_size - 1 : 0;
    const auto zeros = [where](index_t n) { return buffer<T>(n, T(0), where); };
    return {zeros(past * s.key_heads * s.K), zeros(past * s.key_heads * s.K), zeros(past * s.heads * s.V),
            zeros(s.heads * s.K * s.V)};
  }

  // All operands of a delta rule but its decay.
  recurrence_rows<T> run(context& ctx, context::frame& scratch, const Config& c, const Params& p, index_t K,
                         std::span<const lane<delta_state<T>>> all, mat_view<const T> X) const noexcept {
    using arch = typename arch_of<Backend>::type;
    using state = delta_state<T>;
    const auto q = q_.run(ctx, scratch, p.q_proj, all, &state::q_conv, X, true),
               k = k_.run(ctx, scratch, p.k_proj, all, &state::k_conv, X, false),
               v = v_.run(ctx, scratch, p.v_proj, all, &state::v_conv, X, false),
               beta = project<Backend, T>(ctx, scratch, p.b_proj, X);
    normalise_heads<arch>(q, K, T(1) / std::sqrt(static_cast<T>(K)));
    normalise_heads<arch>(k, K);
    map_rows<arch>(beta,
                   [most = c.allow_neg_eigval ? T(2) : T(1)]<class P>(P b) { return P(most) * sigmoid(b); });
    return {.q = q, .k = k, .v = v, .beta = beta};
  }

 private:
  conv q_, k_, v_;
};

}  // namespace mneme::inline MNEME_ABI::detail
