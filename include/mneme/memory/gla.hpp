// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../math/bias.hpp"
#include "detail/head_norm.hpp"
#include "detail/matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct gla_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;       // 0: d_model / (2 heads), the expansion 1/2 of the paper
  index_t head_dim_v = 0;       // 0: d_model / heads
  index_t gate_rank = 16;       // of the bottleneck before the decay
  double gate_normaliser = 16;  // divides the log decay: larger forgets more slowly
  double epsilon = 1e-5;        // of the output norm
  dtype storage = dtype::f32;   // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct gla_params {
  weight q_proj, k_proj;            // [heads head_dim_k, d_model]
  weight v_proj, g_proj;            // [heads head_dim_v, d_model]
  weight gk_proj_down;              // [gate_rank, d_model]
  weight gk_proj_up, gk_proj_bias;  // [heads head_dim_k, gate_rank], [heads head_dim_k]
  weight g_norm;                    // [head_dim_v], one for all heads
  weight o_proj;                    // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("g_proj.weight", p.g_proj...);
    f("gk_proj.0.weight", p.gk_proj_down...);
    f("gk_proj.1.weight", p.gk_proj_up...);
    f("gk_proj.1.bias", p.gk_proj_bias...);
    f("g_norm.weight", p.g_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Gated linear attention.
//   q, k, v = W_q x / sqrt(K), W_k x, W_v x;  alpha = sigmoid(W_up W_down x + b)^(1 / gate_normaliser)
//   per head S <- diag(alpha) S + k v^T;  o = S^T q;  y = W_o (rms_norm(o) silu(W_g x))
// Shapes: x, y [D]; q, k, alpha [H, K]; v, o, W_g x [H, V]; D = d_model, H = heads, K = head_dim_k, V =
// head_dim_v, R = gate_rank; rms_norm is per head, its weight shared by the heads.
// Cost per token: 4 D H (K + 1.5 V) + 2 R (D + H K) + 5 H K V flops. State: H K V elements of Stored,
// whatever the length of the past. Row-stable.
// Source: Yang, Wang, Shen, Panda, Kim, "Gated Linear Attention Transformers with Hardware-Efficient
// Training", 2023, sections 4.1 and 4.4; layer and tensor names as GatedLinearAttention of
// flash-linear-attention. While its fused norm is on (the default there), g_norm.weight is called
// g_norm_swish_gate.weight.
template <class T, class Backend = default_backend<recurrence<rules::gla>>, StoresElementsOf<T> Stored = T>
class gla : public detail::matrix_mixer<gla<T, Backend, Stored>, T, Backend, rules::gla, gla_config,
                                        gla_params, Stored> {
  using base = detail::matrix_mixer<gla, T, Backend, rules::gla, gla_config, gla_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using typename base::config, typename base::params;
  using state = detail::matrix_state<Stored>;
  using base::base;

  static status check(const config& c) {
    if (const status heads = detail::check_heads("gla", c, true); !heads) return heads;
    if (const status size = expect_sizes("gla", {{"gate_rank", c.gate_rank}}); !size) return size;
    if (!(c.gate_normaliser > 0) || !(c.epsilon >= 0))
      return message("gla: gate_normaliser is ", c.gate_normaliser, " and epsilon is ", c.epsilon,
                     ", expected a positive gate_normaliser and no negative epsilon");
    return {};
  }
  static config resolved(config c) {
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / (2 * c.heads);
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, HK = c.heads * c.head_dim_k, HV = c.heads * c.head_dim_v, R = c.gate_rank;
    tensor_plan<params> t;
    t.add(&params::q_proj, {HK, D}, c.storage);
    t.add(&params::k_proj, {HK, D}, c.storage);
    t.add(&params::v_proj, {HV, D}, c.storage);
    t.add(&params::g_proj, {HV, D}, c.storage);
    t.add(&params::gk_proj_down, {R, D}, c.storage);
    t.add(&params::gk_proj_up, {HK, R}, c.storage);
    t.add(&params::gk_proj_bias, {HK}, starts::uniform(R));
    t.add(&params::g_norm, {c.head_dim_v}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const { return {base::empty_matrix(shape(config_), where)}; }

  static std::vector<config> samples() {
    return {
        {.d_model = 12, .heads = 3},
        {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .gate_rank = 1, .gate_normaliser = 1},
        {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .gate_rank = 3},
        {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    const auto alpha =
        project(ctx, scratch, params_.gk_proj_up, project(ctx, scratch, params_.gk_proj_down, X));
    add_bias<arch>(ctx, params_.gk_proj_bias, alpha);
    map_rows<arch>(alpha, [rate = T(-1) / static_cast<T>(config_.gate_normaliser)]<class P>(P a) {
      return exp(softplus(P(0) - a) * P(rate));
    });
    return {.q = queries(ctx, scratch, needed(scratch, all, X)),
            .k = project(ctx, scratch, params_.k_proj, X),
            .v = project(ctx, scratch, params_.v_proj, X),
            .alpha = alpha};
  }
  mat_view<T> queries(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto q = project(ctx, scratch, params_.q_proj, X);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    return q;
  }
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const state&,
                           mat_view<const T> x) const noexcept {
    return {.q = queries(ctx, scratch, x)};
  }
  void output(context& ctx, context::frame& scratch, lanes all, const recurrence_rows<T>&,
              mat_view<const T> X, mat_view<T> o, mat_view<T> Y) const noexcept {
    const auto gate = project(ctx, scratch, params_.g_proj, needed(scratch, all, X));
    const auto gated = detail::gated_head_norm<Backend, T>(scratch, params_.g_norm, config_.epsilon, o, gate);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, gated, Y);
  }
};

}  // namespace mneme::inline MNEME_ABI
