// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/recurrence.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../core/compose/group.hpp"
#include "../layer/short_conv.hpp"
#include "../math/feature_map.hpp"
#include "detail/head_norm.hpp"
#include "detail/lanes.hpp"
#include "detail/softplus_decay.hpp"

#include <vector>

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
// State: Hv K V + (conv_size - 1) (2 Hk K + Hv V) elements of T, whatever the length of the past. Row-stable.
// Source: Yang, Kautz, Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024, equation
// 10; layer and tensor names as GatedDeltaNet of flash-linear-attention.
template <class T, class Backend = default_backend<recurrence<rules::gated_delta_net>>>
class gated_delta_net {
 public:
  using scalar = T;
  using config = gated_delta_net_config;
  using params = gated_delta_net_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<T> q_conv, k_conv,
        v_conv;   // [conv_size - 1, channels]: last projected rows, oldest first; or empty
    buffer<T> S;  // [Hv, K, V]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("q_conv", s.q_conv...);
      f("k_conv", s.k_conv...);
      f("v_conv", s.v_conv...);
      f("state", s.S...);
    }
  };

  explicit gated_delta_net(config c, std::uint64_t seed = 0) : gated_delta_net(c, initial(c, seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  gated_delta_net(config c, params p) : config_(resolved(c)), params_(checked(config_, std::move(p))) {
    if (config_.use_short_conv)
      for (const weight& taps : {params_.q_conv1d, params_.k_conv1d, params_.v_conv1d})
        convolutions_.emplace_back(short_conv_config{taps.dim(0), config_.conv_size, false},
                                   short_conv_params{taps, {}});
    dt_bias_ = detail::decoded<T>(params_.dt_bias);
    A_ = detail::decoded<T>(params_.A_log);
    T* const a = edit<T>(A_);
    for (index_t h = 0; h < config_.value_heads; ++h) a[h] = -std::exp(a[h]);
  }
  static status check(const config& c) {
    if (c.d_model < 1 || c.heads < 1 || c.value_heads < 0 || c.head_dim_k < 0 || c.head_dim_v < 0 ||
        c.conv_size < 1)
      return message("gated_delta_net: d_model is ", c.d_model, ", heads is ", c.heads, ", value_heads is ",
                     c.value_heads, ", head_dim_k is ", c.head_dim_k, ", head_dim_v is ", c.head_dim_v,
                     ", conv_size is ", c.conv_size, ", expected positive sizes");
    if (c.value_heads % c.heads != 0)
      return message("gated_delta_net: value_heads is ", c.value_heads, ", expected a multiple of heads, ",
                     c.heads);
    if (c.head_dim_k == 0 && c.d_model % c.heads != 0)
      return message("gated_delta_net: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads,
                     ", or an explicit head_dim_k");
    if (!(c.epsilon >= 0)) return message("gated_delta_net: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  state init(place where = {}) const {
    const index_t past = config_.use_short_conv ? config_.conv_size - 1 : 0;
    return {buffer<T>(past * keys(config_), T(0), where), buffer<T>(past * keys(config_), T(0), where),
            buffer<T>(past * values(config_), T(0), where),
            buffer<T>(values(config_) * config_.head_dim_k, T(0), where)};
  }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    one_lane(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { one_lane(ctx, s, x, y); });
  }
  // The projections read their weights once for all lanes; convolutions and recurrence go lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto asked = detail::needed<T>(scratch, lanes, X);
    const auto q = features(ctx, scratch, 0, lanes, X, true), k = features(ctx, scratch, 1, lanes, X, false),
               v = features(ctx, scratch, 2, lanes, X, false);
    normalise_heads(q, T(1) / std::sqrt(static_cast<T>(config_.head_dim_k)));
    normalise_heads(k, T(1));
    const auto alpha = decays(ctx, scratch, X), beta = write_strengths(ctx, scratch, X),
               o = scratch.template mat<T>(Y.rows(), values(config_));
    detail::for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const auto of_lane = [&](mat_view<const T> all) { return all.range(row, row + l.rows); };
      const recurrence_rows<T> in{.q = q.range(out, out + l.outs),
                                  .k = of_lane(k),
                                  .v = of_lane(v),
                                  .alpha = of_lane(alpha),
                                  .beta = of_lane(beta)};
      run_heads<rules::gated_delta_net, Backend>(ctx, config_.value_heads, config_.heads, l.state->S.data(),
                                                 in, o.range(out, out + l.outs));
    });
    if (Y.rows() == 0) return;
    const auto normed =
        config_.use_gate ? detail::gated_head_norm<Backend, T>(scratch, params_.o_norm, config_.epsilon, o,
                                                               project(ctx, scratch, params_.g_proj, asked))
                         : detail::head_norm<Backend, T>(scratch, params_.o_norm, config_.epsilon, o);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, normed, Y);
  }

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
  using arch = typename arch_of<Backend>::type;

  static index_t keys(const config& c) { return c.heads * c.head_dim_k; }
  static index_t values(const config& c) { return c.value_heads * c.head_dim_v; }
  static config resolved(config c) {
    check(c).or_fail();
    if (c.value_heads == 0) c.value_heads = c.heads;
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = 2 * c.head_dim_k;
    return c;
  }
  static params checked(const config& c, params p) {
    const index_t D = c.d_model, HK = keys(c), HV = values(c), H = c.value_heads;
    expect_shape("q_proj.weight", p.q_proj, {HK, D}).or_fail();
    expect_shape("k_proj.weight", p.k_proj, {HK, D}).or_fail();
    expect_shape("v_proj.weight", p.v_proj, {HV, D}).or_fail();
    expect_shape("a_proj.weight", p.a_proj, {H, D}).or_fail();
    expect_shape("b_proj.weight", p.b_proj, {H, D}).or_fail();
    expect_shape("A_log", p.A_log, {H}).or_fail();
    expect_shape("dt_bias", p.dt_bias, {H}).or_fail();
    if (c.use_short_conv) {
      expect_shape("q_conv1d.weight", p.q_conv1d, {HK, 1, c.conv_size}).or_fail();
      expect_shape("k_conv1d.weight", p.k_conv1d, {HK, 1, c.conv_size}).or_fail();
      expect_shape("v_conv1d.weight", p.v_conv1d, {HV, 1, c.conv_size}).or_fail();
    }
    if (c.use_gate) expect_shape("g_proj.weight", p.g_proj, {HV, D}).or_fail();
    expect_shape("o_norm.weight", p.o_norm, {c.head_dim_v}).or_fail();
    expect_shape("o_proj.weight", p.o_proj, {D, HV}).or_fail();
    return p;
  }
  // As the public code: A uniform in (0, 16), dt log-uniform in [0.001, 0.1].
  static params initial(const config& given, std::uint64_t seed) {
    const config c = resolved(given);
    const auto make = [&](index_t out, index_t in, std::uint64_t stream) {
      return detail::stored_if_whole(uniform_weight({out, in}, in, random_stream(seed, stream)), c.storage);
    };
    const auto taps = [&](index_t channels, std::uint64_t stream) {
      if (!c.use_short_conv) return weight();
      return uniform_weight({channels, 1, c.conv_size}, c.conv_size, random_stream(seed, stream));
    };
    random_stream draw(seed, 5);
    return {.q_proj = make(keys(c), c.d_model, 0),
            .k_proj = make(keys(c), c.d_model, 1),
            .v_proj = make(values(c), c.d_model, 2),
            .a_proj = make(c.value_heads, c.d_model, 3),
            .b_proj = make(c.value_heads, c.d_model, 4),
            .A_log = filled_weight({c.value_heads}, [&draw] { return std::log(draw.uniform(0, 16)); }),
            .dt_bias = filled_weight({c.value_heads}, [&draw] { return detail::drawn_dt_bias(draw); }),
            .q_conv1d = taps(keys(c), 6),
            .k_conv1d = taps(keys(c), 7),
            .v_conv1d = taps(values(c), 8),
            .g_proj = c.use_gate ? make(values(c), c.d_model, 9) : weight(),
            .o_norm = constant_weight({c.head_dim_v}, 1),
            .o_proj = make(c.d_model, values(c), 10)};
  }

  void one_lane(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  static mat_view<T> project(context& ctx, context::frame& scratch, const weight& W,
                             mat_view<const T> X) noexcept {
    return detail::project<Backend, T>(ctx, scratch, W, X);
  }
  // silu(conv(W x)) of q, k, v (i = 0, 1, 2): of all rows, or only of those whose outputs are asked for.
  mat_view<T> features(context& ctx, context::frame& scratch, std::size_t i,
                       std::span<const lane<state>> lanes, mat_view<const T> X, bool asked) const noexcept {
    constexpr weight params::* maps[] = {&params::q_proj, &params::k_proj, &params::v_proj};
    constexpr buffer<T> state::* pasts[] = {&state::q_conv, &state::k_conv, &state::v_conv};
    const index_t past = config_.use_short_conv ? config_.conv_size - 1 : 0, before = asked ? past : X.rows();
    const auto projected =
        project(ctx, scratch, params_.*maps[i], detail::needed<T>(scratch, lanes, X, before));
    if (!config_.use_short_conv) {
      for (index_t r = 0; r < projected.rows(); ++r) apply<arch>(feature_map::silu, projected[r]);
      return projected;
    }
    index_t outs = 0, from = 0, to = 0;
    for (const auto& l : lanes) outs += asked ? l.outs : l.rows;
    const auto convolved = scratch.template mat<T>(outs, projected.cols());
    for (const auto& l : lanes) {
      const index_t rows = detail::needed_rows(l, before), wanted = asked ? l.outs : l.rows;
      convolutions_[i].convolve(ctx, projected.range(from, from + rows), l.state->*pasts[i],
                                convolved.range(to, to + wanted));
      from += rows, to += wanted;
    }
    return convolved;
  }
  void normalise_heads(mat_view<T> rows, T scale) const noexcept {
    for (index_t r = 0; r < rows.rows(); ++r)
      for (index_t c = 0; c < rows.cols(); c += config_.head_dim_k)
        l2_normalise<arch>(rows[r].sub(c, config_.head_dim_k), T(1e-6), scale);
  }
  mat_view<T> decays(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto alpha = project(ctx, scratch, params_.a_proj, X);
    detail::softplus_decay<arch>(alpha, data<T>(A_), data<T>(dt_bias_));
    return alpha;
  }
  mat_view<T> write_strengths(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto beta = project(ctx, scratch, params_.b_proj, X);
    const T most = config_.allow_neg_eigval ? T(2) : T(1);
    for (index_t r = 0; r < beta.rows(); ++r)
      map_row<arch>(beta.cols(), beta[r].data(), beta[r].data(),
                    [most]<class P>(P x) { return P(most) * sigmoid(x); });
    return beta;
  }

  config config_;
  params params_;
  std::vector<short_conv<T, Backend>> convolutions_;  // of q, k, v; or empty
  weight A_, dt_bias_;                                // [value_heads], of T: -e^A_log and dt_bias
};

}  // namespace mneme::inline MNEME_ABI
