// SPDX-License-Identifier: Apache-2.0
// delta_projection: queries, keys, values and write strengths of delta rules.
#pragma once
#include "../../backend/cpu/matmul.hpp"
#include "../../backend/cpu/rms_norm.hpp"
#include "conv_projection.hpp"
#include "head_norm.hpp"
#include "matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI::detail {

//   q, k, v = silu(conv(W_q x)), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short convolution
//   per head: k <- k / |k|, q <- q / |q| / sqrt(K);  beta = sigmoid(W_b x), twice that if allow_neg_eigval
// The config has d_model, use_short_conv, conv_size, allow_neg_eigval, storage; the tensors are q_proj,
// k_proj, v_proj, b_proj and, where there are convolutions, q_conv1d, k_conv1d, v_conv1d. What is kept here
// are tables derived from the latter.
template <class T, class Backend, class Config, class Params, class Stored>
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
  static conv_state<T, Stored> empty(const Config& c, const matrix_shape& s, place where) {
    return conv_state<T, Stored>::empty(c.use_short_conv ? c.conv_size - 1 : 0, s, where);
  }
  // What is wrong with the config of a member whose value heads share key heads.
  static status check_grouped(const char* member, const Config& c) {
    if (const status heads = expect_heads(member, c.d_model, c.heads, {{"head_dim_k", c.head_dim_k}}); !heads)
      return heads;
    if (const status sizes = expect_sizes(
            member,
            {{"value_heads", c.value_heads, 0}, {"head_dim_v", c.head_dim_v, 0}, {"conv_size", c.conv_size}});
        !sizes)
      return sizes;
    if (c.value_heads % c.heads != 0)
      return message(member, ": value_heads is ", c.value_heads, ", expected a multiple of heads, ", c.heads);
    if (!(c.epsilon >= 0)) return message(member, ": epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }

  // All operands of a delta rule but its decay.
  recurrence_rows<T> run(context& ctx, context::frame& scratch, const Config& c, const Params& p, index_t K,
                         std::span<const lane<conv_state<T, Stored>>> all,
                         mat_view<const T> X) const noexcept {
    using arch = typename arch_of<Backend>::type;
    using state = conv_state<T, Stored>;
    const auto q = q_.run(ctx, scratch, p.q_proj, all, &state::q_conv, X, true),
               k = k_.run(ctx, scratch, p.k_proj, all, &state::k_conv, X, false),
               v = v_.run(ctx, scratch, p.v_proj, all, &state::v_conv, X, false),
               beta = project<Backend, T>(ctx, scratch, p.b_proj, X);
    normalise_queries(q, K);
    normalise_heads<arch>(k, K);
    map_rows<arch>(beta,
                   [most = c.allow_neg_eigval ? T(2) : T(1)]<class P>(P b) { return P(most) * sigmoid(b); });
    return {.q = q, .k = k, .v = v, .beta = beta};
  }
  // Of a row that leaves no trace: its query.
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const Params& p, index_t K,
                           const conv_state<T, Stored>& s, mat_view<const T> x) const noexcept {
    const auto q = q_.preview(ctx, scratch, p.q_proj, s.q_conv, x);
    normalise_queries(q, K);
    return {.q = q};
  }

 private:
  static void normalise_queries(mat_view<T> q, index_t K) noexcept {
    normalise_heads<typename arch_of<Backend>::type>(q, K, T(1) / std::sqrt(static_cast<T>(K)));
  }

  conv q_, k_, v_;
};

}  // namespace mneme::inline MNEME_ABI::detail
