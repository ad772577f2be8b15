// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "detail/delta_projection.hpp"
#include "detail/qwen3_next.hpp"
#include "detail/softplus_decay.hpp"

namespace mneme::inline MNEME_ABI {

struct gated_delta_net_config {
  index_t d_model = 1;
  index_t heads = 1;           // of queries and keys
  index_t value_heads = 0;     // a multiple of heads; 0: heads
  index_t head_dim_k = 0;      // 0: d_model / heads
  index_t head_dim_v = 0;      // 0: 2 head_dim_k
  bool use_short_conv = true;  // short convolutions of q, k, v before their silu
  index_t conv_size = 4;
  bool use_gate = true;           // silu gate on the output
  bool allow_neg_eigval = false;  // beta in (0, 2), not (0, 1): a write may flip what k recalls
  double epsilon = 1e-5;          // of the output norm
  dtype storage = dtype::f32;     // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct gated_delta_net_params {
  weight q_proj, k_proj;                // [heads head_dim_k, d_model]
  weight v_proj;                        // [value_heads head_dim_v, d_model]
  weight a_proj, b_proj;                // [value_heads, d_model]
  weight A_log, dt_bias;                // [value_heads]
  weight q_conv1d, k_conv1d, v_conv1d;  // [channels of q, k, v, 1, conv_size], or empty
  weight g_proj;                        // [value_heads head_dim_v, d_model], or empty
  weight o_norm;                        // [head_dim_v], one for all heads
  weight o_proj;                        // [d_model, value_heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("a_proj.weight", p.a_proj...);
    f("b_proj.weight", p.b_proj...);
    f("A_log", p.A_log...);
    f("dt_bias", p.dt_bias...);
    f("q_conv1d.weight", p.q_conv1d...);
    f("k_conv1d.weight", p.k_conv1d...);
    f("v_conv1d.weight", p.v_conv1d...);
    f("g_proj.weight", p.g_proj...);
    f("o_norm.weight", p.o_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Gated DeltaNet: a delta rule that also forgets.
//   q, k, v = silu(conv(W_q x)), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short convolution
//   per value head: k <- k / |k|, q <- q / |q| / sqrt(K)            |a| = sqrt(sum a^2 + 1e-6)
//   beta = sigmoid(W_b x);  alpha = e^(-e^A_log softplus(W_a x + dt_bias))
//   S <- alpha S;  S <- S + beta k (v - S^T k)^T;  o = S^T q;  y = W_o (rms_norm(o) silu(W_g x))
// Shapes: x, y [D]; q, k [Hk, K]; v, o, W_g x [Hv, V]; alpha, beta [Hv]; D = d_model, Hk = heads, Hv =
// value_heads, K = head_dim_k, V = head_dim_v. Value head h reads key head floor(h Hk / Hv); rms_norm is per
// head, its weight shared by the heads.
// Cost per token: 2 D (2 Hk K + 3 Hv V + 2 Hv) + 2 conv_size (2 Hk K + Hv V) + 7 Hv K V flops.
// State: Hv K V elements of Stored, (conv_size - 1) (2 Hk K + Hv V) of T, whatever the length of the past.
// Row-stable.
// Source: Yang, Kautz, Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024, equation
// 10; layer and tensor names as GatedDeltaNet of flash-linear-attention. Qwen3-Next's: from_qwen3_next.
template <class T, class Backend = default_backend<recurrence<rules::gated_delta_net>>,
          StoresElementsOf<T> Stored = T>
class gated_delta_net
    : public detail::matrix_mixer<gated_delta_net<T, Backend, Stored>, T, Backend, rules::gated_delta_net,
                                  gated_delta_net_config, gated_delta_net_params, Stored> {
  using base = detail::matrix_mixer<gated_delta_net, T, Backend, rules::gated_delta_net,
                                    gated_delta_net_config, gated_delta_net_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using projection =
      detail::delta_projection<T, Backend, gated_delta_net_config, gated_delta_net_params, Stored>;

 public:
  using typename base::config, typename base::params;
  using state = detail::conv_state<T, Stored>;
  using base::base;
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) { return projection::check_grouped("gated_delta_net", c); }
  static config resolved(config c) {
    if (c.value_heads == 0) c.value_heads = c.heads;
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = 2 * c.head_dim_k;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.value_heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, HV = c.value_heads * c.head_dim_v, H = c.value_heads;
    tensor_plan<params> t;
    projection::add_tensors(t, c, shape(c));
    t.add(&params::a_proj, {H, D}, c.storage);
    t.add(&params::A_log, {H}, detail::drawn_A_log(0));
    t.add(&params::dt_bias, {H}, detail::drawn_dt_bias());
    if (c.use_gate) t.add(&params::g_proj, {HV, D}, c.storage);
    t.add(&params::o_norm, {c.head_dim_v}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  // The params that Qwen3-Next's public tensors are, for a config with its sizes (and its epsilon, 1e-6).
  // Errors: a config or a tensor that does not fit.
  static expected<params> from_qwen3_next(const config& c, const qwen3_next_params& p) {
    if (const status s = check(c); !s) return s.error();
    return detail::from_qwen3_next<params>(resolved(c), p);
  }
  state init(place where = {}) const { return projection::empty(config_, shape(config_), where); }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3},
            {.d_model = 5, .heads = 2, .value_heads = 4, .head_dim_k = 7, .head_dim_v = 67, .conv_size = 3},
            {.d_model = 13,
             .heads = 1,
             .head_dim_k = 3,
             .head_dim_v = 1,
             .use_short_conv = false,
             .use_gate = false},
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
    const auto alpha = project(ctx, scratch, params_.a_proj, X);
    decay_.template run<typename base::arch>(alpha);
    auto in = projection_.run(ctx, scratch, config_, params_, config_.head_dim_k, all, X);
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
    if (config_.use_gate)
      kernel<silu_gate, Backend>::template run<T>(
          project(ctx, scratch, params_.g_proj, needed(scratch, all, X)), normed, normed);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, normed, Y);
  }

  projection projection_{params_};
  detail::softplus_decay<T> decay_{params_.A_log, params_.dt_bias};
};

}  // namespace mneme::inline MNEME_ABI
