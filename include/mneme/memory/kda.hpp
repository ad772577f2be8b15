// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../math/bias.hpp"
#include "detail/delta_projection.hpp"
#include "detail/softplus_decay.hpp"

namespace mneme::inline MNEME_ABI {

struct kda_config {
  index_t d_model = 1;
  index_t heads = 1;           // of queries and keys
  index_t value_heads = 0;     // a multiple of heads; 0: heads
  index_t head_dim_k = 0;      // 0: d_model / heads
  index_t head_dim_v = 0;      // 0: head_dim_k
  bool use_short_conv = true;  // short convolutions of q, k, v before their silu
  index_t conv_size = 4;
  bool allow_neg_eigval = false;  // beta in (0, 2), not (0, 1): a write may flip what k recalls
  double epsilon = 1e-5;          // of the output norm
  dtype storage = dtype::f32;     // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct kda_params {
  weight q_proj, k_proj;                // [heads head_dim_k, d_model]
  weight v_proj;                        // [value_heads head_dim_v, d_model]
  weight q_conv1d, k_conv1d, v_conv1d;  // [channels of q, k, v, 1, conv_size], or empty
  weight f_proj_down, f_proj_up;        // [head_dim_v, d_model], [value_heads head_dim_k, head_dim_v]
  weight A_log, dt_bias;                // [value_heads], [value_heads head_dim_k]
  weight b_proj;                        // [value_heads, d_model]
  weight g_proj_down, g_proj_up;        // [head_dim_v, d_model], [value_heads head_dim_v, head_dim_v]
  weight g_proj_bias;                   // [value_heads head_dim_v]
  weight o_norm;                        // [head_dim_v], one for all heads
  weight o_proj;                        // [d_model, value_heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("q_conv1d.weight", p.q_conv1d...);
    f("k_conv1d.weight", p.k_conv1d...);
    f("v_conv1d.weight", p.v_conv1d...);
    f("f_proj.0.weight", p.f_proj_down...);
    f("f_proj.1.weight", p.f_proj_up...);
    f("A_log", p.A_log...);
    f("dt_bias", p.dt_bias...);
    f("b_proj.weight", p.b_proj...);
    f("g_proj.0.weight", p.g_proj_down...);
    f("g_proj.1.weight", p.g_proj_up...);
    f("g_proj.1.bias", p.g_proj_bias...);
    f("o_norm.weight", p.o_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Kimi Delta Attention: a delta rule that forgets channel by channel of its keys.
//   q, k, v = silu(conv(W_q x)), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short convolution
//   per value head: k <- k / |k|, q <- q / |q| / sqrt(K)            |a| = sqrt(sum a^2 + 1e-6)
//   beta = sigmoid(W_b x);  alpha = e^(-e^A_log softplus(W_f1 W_f0 x + dt_bias))
//   S <- diag(alpha) S;  S <- S + beta k (v - S^T k)^T;  o = S^T q
//   y = W_o (rms_norm(o) sigmoid(W_g1 W_g0 x + b))
// Shapes: x, y [D]; q, k [Hk, K]; v, o [Hv, V]; alpha [Hv, K]; beta [Hv]; D = d_model, Hk = heads, Hv =
// value_heads, K = head_dim_k, V = head_dim_v. Value head h reads key head floor(h Hk / Hv); rms_norm is per
// head, its weight shared by the heads.
// Cost per token: 4 D (Hk K + Hv V + V) + 2 D Hv + 2 Hv V (K + V) + 2 conv_size (2 Hk K + Hv V) + 7 Hv K V
// flops. State: Hv K V elements of Stored, (conv_size - 1) (2 Hk K + Hv V) of T, whatever the length of the
// past. Row-stable.
// Source: Kimi Team, "Kimi Linear: An Expressive, Efficient Attention Architecture", 2025, sections 3 and 4;
// layer and tensor names as KimiDeltaAttention of flash-linear-attention.
// Deviations: where value heads share a key head, decay and beta are still per value head (releases of the
// layer differ in that). The decay with a lower bound that some of them offer is left out.
template <class T, class Backend = default_backend<recurrence<rules::kda>>, StoresElementsOf<T> Stored = T>
class kda : public detail::matrix_mixer<kda<T, Backend, Stored>, T, Backend, rules::kda, kda_config,
                                        kda_params, Stored> {
  using base = detail::matrix_mixer<kda, T, Backend, rules::kda, kda_config, kda_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;
  using projection = detail::delta_projection<T, Backend, kda_config, kda_params, Stored>;

 public:
  using typename base::config, typename base::params;
  using state = detail::conv_state<T, Stored>;
  using base::base;
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) { return projection::check_grouped("kda", c); }
  static config resolved(config c) {
    if (c.value_heads == 0) c.value_heads = c.heads;
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = c.head_dim_k;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.value_heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, H = c.value_heads, K = c.head_dim_k, V = c.head_dim_v;
    tensor_plan<params> t;
    projection::add_tensors(t, c, shape(c));
    t.add(&params::f_proj_down, {V, D}, c.storage);
    t.add(&params::f_proj_up, {H * K, V}, c.storage);
    t.add(&params::A_log, {H}, detail::drawn_A_log(1));
    t.add(&params::dt_bias, {H * K}, detail::drawn_dt_bias());
    t.add(&params::g_proj_down, {V, D}, c.storage);
    t.add(&params::g_proj_up, {H * V, V}, c.storage);
    t.add(&params::g_proj_bias, {H * V}, starts::uniform(V));
    t.add(&params::o_norm, {V}, starts::constant(1));
    t.add(&params::o_proj, {D, H * V}, c.storage);
    return t;
  }
  state init(place where = {}) const { return projection::empty(config_, shape(config_), where); }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3},
            {.d_model = 5, .heads = 2, .value_heads = 4, .head_dim_k = 7, .head_dim_v = 67, .conv_size = 3},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .use_short_conv = false},
            {.d_model = 35,
             .heads = 1,
             .value_heads = 3,
             .head_dim_k = 17,
             .conv_size = 1,
             .allow_neg_eigval = true},
            {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    auto in = projection_.run(ctx, scratch, config_, params_, config_.head_dim_k, all, X);
    const auto alpha =
        project(ctx, scratch, params_.f_proj_up, project(ctx, scratch, params_.f_proj_down, X));
    decay_.template run<arch>(alpha);
    in.alpha = alpha;
    return in;
  }
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const state& s,
                           mat_view<const T> x) const noexcept {
    return projection_.asked(ctx, scratch, params_, config_.head_dim_k, s, x);
  }
  void output(context& ctx, context::frame& scratch, lanes all, const recurrence_rows<T>&,
              mat_view<const T> X, mat_view<T> o, mat_view<T> Y) const noexcept {
    const auto normed = detail::head_norm<Backend, T>(scratch, params_.o_norm, config_.epsilon, o);
    const auto gate = project(ctx, scratch, params_.g_proj_up,
                              project(ctx, scratch, params_.g_proj_down, needed(scratch, all, X)));
    add_bias<arch>(ctx, params_.g_proj_bias, gate);
    detail::sigmoid_gate<arch, T>(gate, normed, normed);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, normed, Y);
  }

  projection projection_{params_};
  detail::softplus_decay<T> decay_{params_.A_log, params_.dt_bias};
};

}  // namespace mneme::inline MNEME_ABI
