// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../math/rope.hpp"
#include "detail/head_norm.hpp"
#include "detail/matrix_mixer.hpp"

#include <limits>

namespace mneme::inline MNEME_ABI {

struct retention_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;    // 0: d_model / heads
  index_t head_dim_v = 0;    // 0: 2 d_model / heads
  double rope_base = 10000;  // 0: no rotary positions
  rope_pairs pairs = rope_pairs::half_split;
  double epsilon = 1e-5;       // of the output norm
  dtype storage = dtype::f32;  // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct retention_params {
  weight q_proj, k_proj;  // [heads head_dim_k, d_model]
  weight v_proj, g_proj;  // [heads head_dim_v, d_model]
  weight g_norm;          // [head_dim_v], one for all heads
  weight o_proj;          // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("g_proj.weight", p.g_proj...);
    f("g_norm.weight", p.g_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Multi-scale retention: each head forgets at a fixed rate of its own.
//   q, k, v = turn_t(W_q x) / sqrt(K), turn_t(W_k x), W_v x;  gamma_h = 1 - 2^(-5 - h), h = 0 .. H - 1
//   per head S <- gamma_h S + k v^T;  o = S^T q;  y = W_o (rms_norm(o) silu(W_g x))
// turn_t rotates pairs of channels by their angles at the absolute position t, which the state counts.
// Shapes: x, y [D]; q, k [H, K]; v, o, W_g x [H, V]; D = d_model, H = heads, K = head_dim_k, V = head_dim_v;
// rms_norm is per head, its weight shared by the heads.
// Cost per token: 4 D H (K + 1.5 V) + 5 H K V flops and K sines and cosines. State: H K V elements of Stored
// and the position, whatever the length of the past. Row-stable.
// Source: Sun, Dong, Huang, Ma, Xia, Xue, Wang, Wei, "Retentive Network: A Successor to Transformer for Large
// Language Models", 2023, equations 6 and 8; layer and tensor names as MultiScaleRetention of
// flash-linear-attention. While its fused norm is on (the default there), g_norm.weight is called
// g_norm_swish_gate.weight.
// Deviations: a root-mean-square norm of each head, as there, where the paper has a group norm; no xPos.
template <class T, class Backend = default_backend<recurrence<rules::retnet>>, StoresElementsOf<T> Stored = T>
class retention : public detail::matrix_mixer<retention<T, Backend, Stored>, T, Backend, rules::retnet,
                                              retention_config, retention_params, Stored> {
  using base =
      detail::matrix_mixer<retention, T, Backend, rules::retnet, retention_config, retention_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<Stored> S;      // [H, K, V]
    index_t position = 0;  // of the next token
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("state", s.S...);
      f("position", s.position...);
    }
  };

  static status check(const config& c) {
    if (const status heads = detail::check_heads("retention", c); !heads) return heads;
    if (const index_t K = resolved(c).head_dim_k; c.rope_base > 0 && K % 2 != 0)
      return message("retention: head_dim_k is ", K, ", expected an even number for rotary positions");
    if (!(c.rope_base >= 0) || !(c.epsilon >= 0))
      return message("retention: rope_base is ", c.rope_base, " and epsilon is ", c.epsilon,
                     ", expected at least 0");
    return {};
  }
  static config resolved(config c) {
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = 2 * (c.d_model / c.heads);
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
    t.add(&params::g_norm, {c.head_dim_v}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const { return {base::empty_matrix(shape(config_), where)}; }
  // Whether positions can go on counting (those of a file, say, which may claim anything).
  bool valid(const state& s) const {
    return s.position >= 0 && s.position <= std::numeric_limits<index_t>::max() / 2;
  }

  static std::vector<config> samples() {
    return {{.d_model = 12, .heads = 3},
            {.d_model = 5, .heads = 2, .head_dim_k = 10, .head_dim_v = 67, .pairs = rope_pairs::interleaved},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .rope_base = 0},
            {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    const auto q = project(ctx, scratch, params_.q_proj, needed(scratch, all, X)),
               k = project(ctx, scratch, params_.k_proj, X), v = project(ctx, scratch, params_.v_proj, X),
               gamma = scratch.template mat<T>(X.rows(), config_.heads);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    const auto angles = scratch.template row<T>(2 * rope_.pairs());
    for_lanes(all, [&](const auto& l, index_t row, index_t out) {
      for (index_t t = 0; t < l.rows; ++t) {
        rope_.angles(l.state->position++, angles);
        turn(angles, k[row + t]);
        if (const index_t i = t - (l.rows - l.outs); i >= 0) turn(angles, q[out + i]);
      }
    });
    for (index_t r = 0; r < gamma.rows(); ++r)
      for (index_t h = 0; h < gamma.cols(); ++h)
        gamma[r][h] = T(1) - std::ldexp(T(1), static_cast<int>(-5 - h));
    return {.q = q, .k = k, .v = v, .alpha = gamma};
  }
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const state& s,
                           mat_view<const T> x) const noexcept {
    const auto q = project(ctx, scratch, params_.q_proj, x);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    const auto angles = scratch.template row<T>(2 * rope_.pairs());
    rope_.angles(s.position, angles);
    turn(angles, q[0]);
    return {.q = q};
  }
  // Every head of a row.
  void turn(row_view<const T> angles, row_view<T> row) const noexcept {
    if (rope_.pairs() == 0) return;
    for (index_t c = 0; c < row.size(); c += config_.head_dim_k)
      rope_.template rotate<T>(angles, row.data() + c);
  }
  void output(context& ctx, context::frame& scratch, lanes all, const recurrence_rows<T>&,
              mat_view<const T> X, mat_view<T> o, mat_view<T> Y) const noexcept {
    const auto gate = project(ctx, scratch, params_.g_proj, needed(scratch, all, X));
    const auto gated = detail::gated_head_norm<Backend, T>(scratch, params_.g_norm, config_.epsilon, o, gate);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, gated, Y);
  }

  rope rope_ = config_.rope_base > 0 ? rope(config_.head_dim_k, config_.rope_base, config_.pairs) : rope();
};

}  // namespace mneme::inline MNEME_ABI
