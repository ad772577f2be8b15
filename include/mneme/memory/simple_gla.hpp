// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../math/bias.hpp"
#include "detail/conv_projection.hpp"
#include "detail/head_norm.hpp"
#include "detail/matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct simple_gla_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;      // 0: d_model / heads
  index_t head_dim_v = 0;      // 0: d_model / heads
  bool use_short_conv = true;  // short convolutions of q, k, v, each followed by a silu
  index_t conv_size = 4;
  double gate_normaliser = 16;  // divides the log decay: larger forgets more slowly
  double epsilon = 1e-5;        // of the output norm
  dtype storage = dtype::f32;   // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct simple_gla_params {
  weight q_proj, k_proj;                // [heads head_dim_k, d_model]
  weight v_proj, g_proj;                // [heads head_dim_v, d_model]
  weight q_conv1d, k_conv1d, v_conv1d;  // [channels of q, k, v, 1, conv_size], or empty
  weight gk_proj, gk_proj_bias;         // [heads, d_model], [heads]
  weight g_norm;                        // [head_dim_v], one for all heads
  weight o_proj;                        // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("g_proj.weight", p.g_proj...);
    f("q_conv1d.weight", p.q_conv1d...);
    f("k_conv1d.weight", p.k_conv1d...);
    f("v_conv1d.weight", p.v_conv1d...);
    f("gk_proj.weight", p.gk_proj...);
    f("gk_proj.bias", p.gk_proj_bias...);
    f("g_norm.weight", p.g_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Simple gated linear attention: one data-dependent decay per head.
//   q, k, v = silu(conv(W_q x)) / sqrt(K), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short
//   convolution; without use_short_conv W_q x / sqrt(K), W_k x, W_v x
//   alpha = sigmoid(W_a x + b)^(1 / gate_normaliser)
//   per head S <- alpha S + k v^T;  o = S^T q;  y = W_o (rms_norm(o) silu(W_g x))
// Shapes: x, y [D]; q, k [H, K]; v, o, W_g x [H, V]; alpha [H]; D = d_model, H = heads, K = head_dim_k, V =
// head_dim_v; rms_norm is per head, its weight shared by the heads.
// Cost per token: 4 D H (K + 1.5 V) + 2 D H + 2 conv_size H (2 K + V) + 5 H K V flops.
// State: H K V elements of Stored, (conv_size - 1) H (2 K + V) of T, whatever the length of the past.
// Row-stable.
// Source: Yang, Wang, Shen, Panda, Kim, "Gated Linear Attention Transformers with Hardware-Efficient
// Training", 2023, with the decay of a head in place of that of a channel; layer and tensor names as
// SimpleGatedLinearAttention of flash-linear-attention. While its fused norm is on (the default there),
// g_norm.weight is called g_norm_swish_gate.weight.
template <class T, class Backend = default_backend<recurrence<rules::simple_gla>>,
          StoresElementsOf<T> Stored = T>
class simple_gla : public detail::matrix_mixer<simple_gla<T, Backend, Stored>, T, Backend, rules::simple_gla,
                                               simple_gla_config, simple_gla_params, Stored> {
  using base = detail::matrix_mixer<simple_gla, T, Backend, rules::simple_gla, simple_gla_config,
                                    simple_gla_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;
  using state = detail::conv_state<T, Stored>;

  // Read only: the convolutions read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status heads = detail::check_heads("simple_gla", c); !heads) return heads;
    if (const status size = expect_sizes("simple_gla", {{"conv_size", c.conv_size}}); !size) return size;
    if (!(c.gate_normaliser > 0) || !(c.epsilon >= 0))
      return message("simple_gla: gate_normaliser is ", c.gate_normaliser, " and epsilon is ", c.epsilon,
                     ", expected a positive gate_normaliser and no negative epsilon");
    return {};
  }
  static config resolved(config c) {
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, HK = c.heads * c.head_dim_k, HV = c.heads * c.head_dim_v;
    tensor_plan<params> t;
    t.add(&params::q_proj, {HK, D}, c.storage);
    t.add(&params::k_proj, {HK, D}, c.storage);
    t.add(&params::v_proj, {HV, D}, c.storage);
    t.add(&params::g_proj, {HV, D}, c.storage);
    if (c.use_short_conv) {
      t.add(&params::q_conv1d, {HK, 1, c.conv_size});
      t.add(&params::k_conv1d, {HK, 1, c.conv_size});
      t.add(&params::v_conv1d, {HV, 1, c.conv_size});
    }
    t.add(&params::gk_proj, {c.heads, D}, c.storage);
    t.add(&params::gk_proj_bias, {c.heads}, starts::uniform(D));
    t.add(&params::g_norm, {c.head_dim_v}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const {
    return state::empty(config_.use_short_conv ? config_.conv_size - 1 : 0, shape(config_), where);
  }

  static std::vector<config> samples() {
    return {
        {.d_model = 12, .heads = 3},
        {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .conv_size = 3, .gate_normaliser = 1},
        {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .use_short_conv = false},
        {.d_model = 64, .heads = 2, .conv_size = 1, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    const auto q = q_.run(ctx, scratch, params_.q_proj, all, &state::q_conv, X, true),
               k = k_.run(ctx, scratch, params_.k_proj, all, &state::k_conv, X, false),
               v = v_.run(ctx, scratch, params_.v_proj, all, &state::v_conv, X, false),
               alpha = project(ctx, scratch, params_.gk_proj, X);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    add_bias<arch>(ctx, params_.gk_proj_bias, alpha);
    map_rows<arch>(alpha, [rate = T(-1) / static_cast<T>(config_.gate_normaliser)]<class P>(P a) {
      return exp(softplus(P(0) - a) * P(rate));
    });
    return {.q = q, .k = k, .v = v, .alpha = alpha};
  }
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const state& s,
                           mat_view<const T> x) const noexcept {
    const auto q = q_.preview(ctx, scratch, params_.q_proj, s.q_conv, x);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    return {.q = q};
  }
  void output(context& ctx, context::frame& scratch, lanes all, const recurrence_rows<T>&,
              mat_view<const T> X, mat_view<T> o, mat_view<T> Y) const noexcept {
    const auto gate = project(ctx, scratch, params_.g_proj, needed(scratch, all, X));
    const auto gated = detail::gated_head_norm<Backend, T>(scratch, params_.g_norm, config_.epsilon, o, gate);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, gated, Y);
  }

  using projection = detail::conv_projection<T, Backend>;
  projection q_{params_.q_conv1d, config_.use_short_conv}, k_{params_.k_conv1d, config_.use_short_conv},
      v_{params_.v_conv1d, config_.use_short_conv};
};

}  // namespace mneme::inline MNEME_ABI
