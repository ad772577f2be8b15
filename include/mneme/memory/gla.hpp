// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/recurrence.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../core/compose/group.hpp"
#include "../math/random.hpp"
#include "detail/head_norm.hpp"
#include "detail/lanes.hpp"

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
//   q, k, v = W_q x / sqrt(K), W_k x, W_v x;  alpha = sigmoid(W_up W_down x + b)^(1 / gate_normaliser)   per
//   head S <- diag(alpha) S + k v^T;  o = S^T q;  y = W_o (rms_norm(o) silu(W_g x))
// Shapes: x, y [D]; q, k, alpha [H, K]; v, o, W_g x [H, V]; D = d_model, H = heads, K = head_dim_k, V =
// head_dim_v, R = gate_rank; rms_norm is per head, its weight shared by the heads.
// Cost per token: 4 D H (K + 1.5 V) + 2 R (D + H K) + 5 H K V flops. State: H K V elements of T, whatever the
// length of the past. Row-stable.
// Source: Yang, Wang, Shen, Panda, Kim, "Gated Linear Attention Transformers with Hardware-Efficient
// Training", 2023, sections 4.1 and 4.4; layer and tensor names as GatedLinearAttention of
// flash-linear-attention. While its fused norm is on (the default there), g_norm.weight is called
// g_norm_swish_gate.weight.
template <class T, class Backend = default_backend<recurrence<rules::gla>>>
class gla {
 public:
  using scalar = T;
  using config = gla_config;
  using params = gla_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<T> S;  // [H, K, V]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("state", s.S...); }
  };

  explicit gla(config c, std::uint64_t seed = 0) : gla(c, initial(c, seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  gla(config c, params p) : config_(resolved(c)), params_(std::move(p)) {
    const index_t D = config_.d_model, HK = keys(config_), HV = values(config_), R = config_.gate_rank;
    expect_shape("q_proj.weight", params_.q_proj, {HK, D}).or_fail();
    expect_shape("k_proj.weight", params_.k_proj, {HK, D}).or_fail();
    expect_shape("v_proj.weight", params_.v_proj, {HV, D}).or_fail();
    expect_shape("g_proj.weight", params_.g_proj, {HV, D}).or_fail();
    expect_shape("gk_proj.0.weight", params_.gk_proj_down, {R, D}).or_fail();
    expect_shape("gk_proj.1.weight", params_.gk_proj_up, {HK, R}).or_fail();
    expect_shape("gk_proj.1.bias", params_.gk_proj_bias, {HK}).or_fail();
    expect_shape("g_norm.weight", params_.g_norm, {config_.head_dim_v}).or_fail();
    expect_shape("o_proj.weight", params_.o_proj, {D, HV}).or_fail();
  }
  static status check(const config& c) {
    if (c.d_model < 1 || c.heads < 1 || c.head_dim_k < 0 || c.head_dim_v < 0 || c.gate_rank < 1)
      return message("gla: d_model is ", c.d_model, ", heads is ", c.heads, ", head_dim_k is ", c.head_dim_k,
                     ", head_dim_v is ", c.head_dim_v, ", gate_rank is ", c.gate_rank,
                     ", expected positive sizes");
    if (c.head_dim_k == 0 && c.d_model % (2 * c.heads) != 0)
      return message("gla: d_model is ", c.d_model, ", expected a multiple of twice the heads, ", c.heads,
                     ", or an explicit head_dim_k");
    if (c.head_dim_v == 0 && c.d_model % c.heads != 0)
      return message("gla: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads,
                     ", or an explicit head_dim_v");
    if (!(c.gate_normaliser > 0) || !(c.epsilon >= 0))
      return message("gla: gate_normaliser is ", c.gate_normaliser, " and epsilon is ", c.epsilon,
                     ", expected a positive gate_normaliser and no negative epsilon");
    return {};
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  state init(place where = {}) const { return {buffer<T>(keys(config_) * config_.head_dim_v, T(0), where)}; }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    one_lane(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { one_lane(ctx, s, x, y); });
  }
  // The projections read their weights once for all lanes; the recurrence goes lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto asked = detail::needed<T>(scratch, lanes, X);
    const auto q = project(ctx, scratch, params_.q_proj, asked), k = project(ctx, scratch, params_.k_proj, X),
               v = project(ctx, scratch, params_.v_proj, X), alpha = decays(ctx, scratch, X),
               o = scratch.template mat<T>(Y.rows(), values(config_));
    const T scale = T(1) / std::sqrt(static_cast<T>(config_.head_dim_k));
    for (index_t r = 0; r < q.rows(); ++r)
      map_row<arch>(q.cols(), q[r].data(), q[r].data(), [scale]<class P>(P a) { return a * P(scale); });
    detail::for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const recurrence_rows<T> in{.q = q.range(out, out + l.outs),
                                  .k = k.range(row, row + l.rows),
                                  .v = v.range(row, row + l.rows),
                                  .alpha = alpha.range(row, row + l.rows)};
      run_heads<rules::gla, Backend>(ctx, config_.heads, config_.heads, l.state->S.data(), in,
                                     o.range(out, out + l.outs));
    });
    if (Y.rows() == 0) return;
    const auto gated = detail::gated_head_norm<Backend, T>(scratch, params_.g_norm, config_.epsilon, o,
                                                           project(ctx, scratch, params_.g_proj, asked));
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, gated, Y);
  }

  static std::vector<config> samples() {
    return {
        {.d_model = 12, .heads = 3},
        {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .gate_rank = 1, .gate_normaliser = 1},
        {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .gate_rank = 3},
        {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using arch = typename arch_of<Backend>::type;

  static index_t keys(const config& c) { return c.heads * c.head_dim_k; }
  static index_t values(const config& c) { return c.heads * c.head_dim_v; }
  static config resolved(config c) {
    check(c).or_fail();
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / (2 * c.heads);
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static params initial(const config& given, std::uint64_t seed) {
    const config c = resolved(given);
    const auto make = [&](index_t out, index_t in, std::uint64_t stream) {
      return detail::stored_if_whole(uniform_weight({out, in}, in, random_stream(seed, stream)), c.storage);
    };
    return {.q_proj = make(keys(c), c.d_model, 0),
            .k_proj = make(keys(c), c.d_model, 1),
            .v_proj = make(values(c), c.d_model, 2),
            .g_proj = make(values(c), c.d_model, 3),
            .gk_proj_down = make(c.gate_rank, c.d_model, 4),
            .gk_proj_up = make(keys(c), c.gate_rank, 5),
            .gk_proj_bias = uniform_weight({keys(c)}, c.gate_rank, random_stream(seed, 6)),
            .g_norm = constant_weight({c.head_dim_v}, 1),
            .o_proj = make(c.d_model, values(c), 7)};
  }

  void one_lane(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  static mat_view<T> project(context& ctx, context::frame& scratch, const weight& W,
                             mat_view<const T> X) noexcept {
    return detail::project<Backend, T>(ctx, scratch, W, X);
  }
  // alpha = e^(-softplus(-g) / gate_normaliser), g = W_up W_down x + b.
  mat_view<T> decays(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto g = project(ctx, scratch, params_.gk_proj_up, project(ctx, scratch, params_.gk_proj_down, X));
    const auto bias = scratch.template row<T>(g.cols());
    decode_row<arch>(params_.gk_proj_bias.type(), params_.gk_proj_bias.data(), g.cols(), bias.data());
    const T rate = T(-1) / static_cast<T>(config_.gate_normaliser);
    for (index_t r = 0; r < g.rows(); ++r) {
      T* const row = g[r].data();
      for_packs<T, arch>(g.cols(), [&]<class P>(index_t i) {
        const P x = simd::load<P>(row + i) + simd::load<P>(bias.data() + i);
        simd::store(row + i, exp(softplus(P(0) - x) * P(rate)));
      });
    }
    return g;
  }

  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
