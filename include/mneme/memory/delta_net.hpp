// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "detail/delta_projection.hpp"

namespace mneme::inline MNEME_ABI {

struct delta_net_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;      // 0: d_model / heads
  index_t head_dim_v = 0;      // 0: d_model / heads
  bool use_short_conv = true;  // short convolutions of q, k, v before their silu
  index_t conv_size = 4;
  bool use_gate = false;          // silu gate on the output
  bool allow_neg_eigval = false;  // beta in (0, 2), not (0, 1): a write may flip what k recalls
  double epsilon = 1e-5;          // of the output norm
  dtype storage = dtype::f32;     // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct delta_net_params {
  weight q_proj, k_proj;                // [heads head_dim_k, d_model]
  weight v_proj;                        // [heads head_dim_v, d_model]
  weight b_proj;                        // [heads, d_model]
  weight q_conv1d, k_conv1d, v_conv1d;  // [channels of q, k, v, 1, conv_size], or empty
  weight g_proj;                        // [heads head_dim_v, d_model], or empty
  weight o_norm;                        // [head_dim_v], one for all heads
  weight o_proj;                        // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("b_proj.weight", p.b_proj...);
    f("q_conv1d.weight", p.q_conv1d...);
    f("k_conv1d.weight", p.k_conv1d...);
    f("v_conv1d.weight", p.v_conv1d...);
    f("g_proj.weight", p.g_proj...);
    f("o_norm.weight", p.o_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// DeltaNet: a linear attention that replaces what a key recalls instead of adding to it.
//   q, k, v = silu(conv(W_q x)), silu(conv(W_k x)), silu(conv(W_v x)), each with its own short convolution
//   per head: k <- k / |k|, q <- q / |q| / sqrt(K)                  |a| = sqrt(sum a^2 + 1e-6)
//   beta = sigmoid(W_b x);  S <- S + beta k (v - S^T k)^T;  o = S^T q
//   y = W_o rms_norm(o), or with the gate y = W_o (rms_norm(o) silu(W_g x))
// Shapes: x, y [D]; q, k [H, K]; v, o, W_g x [H, V]; beta [H]; D = d_model, H = heads, K = head_dim_k, V =
// head_dim_v; rms_norm is per head, its weight shared by the heads.
// Cost per token: 4 D H (K + V) + 2 D H + 2 conv_size H (2 K + V) + 6 H K V flops, and 2 D H V for the gate.
// State: H K V elements of Stored, (conv_size - 1) H (2 K + V) of T, whatever the length of the past.
// Row-stable.
// Source: Yang, Wang, Zhang, Shen, Kim, "Parallelizing Linear Transformers with the Delta Rule over Sequence
// Length", 2024, sections 2.2 and 3.4; layer and tensor names as DeltaNet of flash-linear-attention.
// Deviations: none from its defaults; other activations than silu, the sum norm of q and k, and a constant
// beta, which the layer also offers, are left out.
template <class T, class Backend = default_backend<recurrence<rules::delta_net>>,
          StoresElementsOf<T> Stored = T>
class delta_net : public detail::matrix_mixer<delta_net<T, Backend, Stored>, T, Backend, rules::delta_net,
                                              delta_net_config, delta_net_params, Stored> {
  using base = detail::matrix_mixer<delta_net, T, Backend, rules::delta_net, delta_net_config,
                                    delta_net_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using projection = detail::delta_projection<T, Backend, delta_net_config, delta_net_params, Stored>;

 public:
  using typename base::config, typename base::params;
  using state = detail::conv_state<T, Stored>;
  using base::base;
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status heads = detail::check_heads("delta_net", c); !heads) return heads;
    if (const status size = expect_sizes("delta_net", {{"conv_size", c.conv_size}}); !size) return size;
    if (!(c.epsilon >= 0)) return message("delta_net: epsilon is ", c.epsilon, ", expected at least 0");
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
    const index_t D = c.d_model, HV = c.heads * c.head_dim_v;
    tensor_plan<params> t;
    projection::add_tensors(t, c, shape(c));
    if (c.use_gate) t.add(&params::g_proj, {HV, D}, c.storage);
    t.add(&params::o_norm, {c.head_dim_v}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const { return projection::empty(config_, shape(config_), where); }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3, .use_gate = true},
            {.d_model = 5,
             .heads = 2,
             .head_dim_k = 7,
             .head_dim_v = 67,
             .conv_size = 3,
             .allow_neg_eigval = true},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .use_short_conv = false},
            {.d_model = 64, .heads = 2, .conv_size = 1, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    return projection_.run(ctx, scratch, config_, params_, config_.head_dim_k, all, X);
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
};

}  // namespace mneme::inline MNEME_ABI
