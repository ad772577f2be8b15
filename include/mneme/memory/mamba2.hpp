// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../layer/short_conv.hpp"
#include "detail/matrix_mixer.hpp"
#include "detail/softplus_decay.hpp"

#include <limits>

namespace mneme::inline MNEME_ABI {

struct mamba2_config {
  index_t d_model = 1;
  index_t d_state = 128;
  index_t d_conv = 4;
  index_t expand = 2;       // E = expand d_model channels
  index_t headdim = 64;     // E / headdim heads
  index_t ngroups = 1;      // of heads, which share B and C and are normalised together
  bool D_has_hdim = false;  // D for every channel, not for every head
  bool conv_bias = true;
  double dt_limit_low = 0;  // step sizes are clamped to these
  double dt_limit_high = std::numeric_limits<double>::infinity();
  double epsilon = 1e-5;       // of the gated norm
  dtype storage = dtype::f32;  // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct mamba2_params {
  weight in_proj;        // [2 E + 2 ngroups d_state + heads, d_model]; rows z, x, B, C, dt
  weight conv1d_weight;  // [E + 2 ngroups d_state, 1, d_conv]
  weight conv1d_bias;    // [E + 2 ngroups d_state], or empty
  weight dt_bias;        // [heads]
  weight A_log;          // [heads]
  weight D;              // [heads] or [E]
  weight norm;           // [E]
  weight out_proj;       // [d_model, E]
  static constexpr void fields(auto&& f, auto&... p) {
    f("in_proj.weight", p.in_proj...);
    f("conv1d.weight", p.conv1d_weight...);
    f("conv1d.bias", p.conv1d_bias...);
    f("dt_bias", p.dt_bias...);
    f("A_log", p.A_log...);
    f("D", p.D...);
    f("norm.weight", p.norm...);
    f("out_proj.weight", p.out_proj...);
  }
};

// The Mamba-2 mixer: a state-space model as linear attention with one decay per head (SSD).
//   z, xBC, dt = W_in input;  x, B, C = silu(conv(xBC));  delta = clamp(softplus(dt + dt_bias), dt_limit)
//   per head S <- e^(-delta e^A_log) S + B (delta x)^T;  o = S^T C + D x
//   y = W_out rms_norm(o silu(z)), normalised in ngroups equal parts
// Shapes: input, y [d_model]; z, x, o [H, P], P = headdim, E = H P = expand d_model; B, C [G, N], G =
// ngroups, N = d_state; dt, delta [H]. Head h reads group floor(h G / H).
// Cost per token: 2 d_model (3 E + 2 G N + H) + 2 d_conv (E + 2 G N) + 5 E N flops.
// State: E N elements of Stored, (d_conv - 1) (E + 2 G N) of T, whatever the length of the past. Row-stable.
// Source: Dao, Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured
// State Space Duality", 2024, section 7 and figure 6; tensor names as Mamba2 of state-spaces/mamba and of
// transformers.
// Deviations: public caches keep d_conv inputs of the convolution (to take one over, drop its oldest) and S
// as [H, P, N]. No part without a state space (d_ssm), no biases of the projections, no norm before the gate.
template <class T, class Backend = default_backend<recurrence<rules::mamba2>>, StoresElementsOf<T> Stored = T>
class mamba2 : public detail::matrix_mixer<mamba2<T, Backend, Stored>, T, Backend, rules::mamba2,
                                           mamba2_config, mamba2_params, Stored> {
  using base = detail::matrix_mixer<mamba2, T, Backend, rules::mamba2, mamba2_config, mamba2_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<T> conv_state;  // [d_conv - 1, E + 2 G N]: the last inputs of the convolution, oldest first
    buffer<Stored> S;      // [H, N, P]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("conv_state", s.conv_state...);
      f("ssm_state", s.S...);
    }
  };

  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status sizes = expect_sizes("mamba2", {{"d_model", c.d_model},
                                                     {"d_state", c.d_state},
                                                     {"d_conv", c.d_conv},
                                                     {"expand", c.expand},
                                                     {"headdim", c.headdim},
                                                     {"ngroups", c.ngroups}});
        !sizes)
      return sizes;
    if (inner(c) % c.headdim != 0)
      return message("mamba2: expand d_model is ", inner(c), ", expected a multiple of headdim, ", c.headdim);
    if (heads(c) % c.ngroups != 0)
      return message("mamba2: there are ", heads(c), " heads, expected a multiple of ngroups, ", c.ngroups);
    if (!(c.dt_limit_low >= 0) || !(c.dt_limit_high >= c.dt_limit_low) || !(c.epsilon >= 0))
      return message("mamba2: dt_limit is ", c.dt_limit_low, " to ", c.dt_limit_high, " and epsilon is ",
                     c.epsilon, ", expected a range from 0 up and no negative epsilon");
    return {};
  }
  static config resolved(config c) { return c; }
  static index_t inner(const config& c) { return c.expand * c.d_model; }
  static index_t heads(const config& c) { return inner(c) / c.headdim; }
  // Of the convolution: x, B, C.
  static index_t channels(const config& c) { return inner(c) + 2 * c.ngroups * c.d_state; }
  static detail::matrix_shape shape(const config& c) { return {heads(c), c.ngroups, c.d_state, c.headdim}; }
  // Starts as in the paper's code: A uniform in (1, 16), D = 1, dt log-uniform in [0.001, 0.1].
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, E = inner(c), H = heads(c);
    tensor_plan<params> t;
    t.add(&params::in_proj, {E + channels(c) + H, D}, c.storage);
    t.add(&params::conv1d_weight, {channels(c), 1, c.d_conv});
    if (c.conv_bias) t.add(&params::conv1d_bias, {channels(c)}, starts::uniform(c.d_conv));
    t.add(&params::dt_bias, {H}, detail::drawn_dt_bias());
    t.add(&params::A_log, {H}, detail::drawn_A_log(1));
    t.add(&params::D, {c.D_has_hdim ? E : H}, starts::constant(1));
    t.add(&params::norm, {E}, starts::constant(1));
    t.add(&params::out_proj, {D, E}, c.storage);
    return t;
  }
  state init(place where = {}) const {
    return {buffer<T>((config_.d_conv - 1) * channels(config_), T(0), where),
            base::empty_matrix(shape(config_), where)};
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .d_state = 5, .headdim = 3, .ngroups = 2},
            {.d_model = 2, .d_state = 1, .d_conv = 1, .expand = 1, .headdim = 2},
            {.d_model = 35,
             .d_state = 17,
             .d_conv = 3,
             .expand = 1,
             .headdim = 5,
             .ngroups = 7,
             .D_has_hdim = true,
             .conv_bias = false},
            {.d_model = 64, .d_state = 7, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;
  struct rows : recurrence_rows<T> {
    mat_view<const T> x;  // of the outputs; not of a row that is only asked
  };

  rows operands(context& ctx, context::frame& scratch, lanes all, mat_view<const T> X) const noexcept {
    const index_t E = inner(config_), GN = config_.ngroups * config_.d_state;
    const auto xBC = project(ctx, scratch, xBC_rows_, X), alpha = project(ctx, scratch, dt_rows_, X),
               convolved = scratch.template mat<T>(X.rows(), xBC.cols()),
               v = scratch.template mat<T>(X.rows(), E);
    for_lanes(all, [&](const auto& l, index_t row, index_t) {
      conv_.convolve(ctx, xBC.range(row, row + l.rows), l.state->conv_state,
                     convolved.range(row, row + l.rows));
    });
    const mat_view<const T> x = convolved.columns(0, E), B = convolved.columns(E, GN),
                            C = convolved.columns(E + GN, GN);
    const auto delta = scratch.template row<T>(alpha.cols());
    for (index_t r = 0; r < X.rows(); ++r) {
      step_sizes(alpha[r], delta);
      for (index_t h = 0, P = config_.headdim; h < delta.size(); ++h)
        map_row<arch>(P, x[r].data() + h * P, v[r].data() + h * P,
                      [dt = delta[h]]<class Pack>(Pack a) { return Pack(dt) * a; });
    }
    return {{.q = needed(scratch, all, C), .k = B, .v = v, .alpha = alpha}, needed(scratch, all, x)};
  }
  // The convolution of C alone.
  rows asked(context& ctx, context::frame& scratch, const state& s, mat_view<const T> input) const noexcept {
    const auto before = project(ctx, scratch, C_rows_, input), C = scratch.template mat<T>(1, before.cols());
    conv_.preview(ctx, before[0], s.conv_state, channels(config_) - C.cols(), C[0]);
    return {{.q = C}, {}};
  }
  // From a row of dt: delta, and in its place the decay.
  void step_sizes(row_view<T> alpha, row_view<T> delta) const noexcept {
    const auto low = static_cast<T>(config_.dt_limit_low), high = static_cast<T>(config_.dt_limit_high);
    for_packs<T, arch>(delta.size(), [&]<class P>(index_t h) {
      const P dt = softplus(simd::load<P>(alpha.data() + h) + simd::load<P>(data<T>(dt_bias_) + h)),
              clamped = simd::min(simd::max(dt, P(low)), P(high));
      simd::store(delta.data() + h, clamped);
      simd::store(alpha.data() + h, exp(simd::load<P>(data<T>(A_) + h) * clamped));
    });
  }
  void output(context& ctx, context::frame& scratch, lanes all, const rows& in, mat_view<const T> X,
              mat_view<T> o, mat_view<T> Y) const noexcept {
    const index_t E = o.cols(), part = E / config_.ngroups;
    for (index_t r = 0; r < in.x.rows(); ++r)
      for_packs<T, arch>(E, [&, x = in.x[r].data(), y = o[r].data()]<class P>(index_t i) {
        simd::store(y + i,
                    simd::fma(simd::load<P>(data<T>(D_) + i), simd::load<P>(x + i), simd::load<P>(y + i)));
      });
    const auto z = project(ctx, scratch, z_rows_, needed(scratch, all, X));
    kernel<silu_gate, Backend>::template run<T>(z, o, o);
    const auto normed = scratch.template mat<T>(o.rows(), E);
    for (index_t from = 0; from < E; from += part) {
      const weight w(data<T>(norm_) + from, {part, 1, 1}, 1, dtype_of<T>, nullptr);
      kernel<rms_normalise, Backend>::template run<T>(w, config_.epsilon, o.columns(from, part),
                                                      normed.columns(from, part));
    }
    kernel<matmul, Backend>::template run<T>(ctx, params_.out_proj, normed, Y);
  }
  static weight negative_exp(const weight& A_log) {
    weight A = decoded<T>(A_log);
    for (index_t h = 0; h < A.size(); ++h) edit<T>(A)[h] = -std::exp(data<T>(A)[h]);
    return A;
  }
  // D of every channel.
  static weight of_channels(const weight& D, index_t E) {
    const weight given = decoded<T>(D);
    weight table = weight::zeros<T>(E);
    for (index_t e = 0; e < E; ++e) edit<T>(table)[e] = data<T>(given)[e * D.size() / E];
    return table;
  }

  weight z_rows_ = rows_of(params_.in_proj, 0, inner(config_)),
         xBC_rows_ = rows_of(params_.in_proj, inner(config_), channels(config_)),
         C_rows_ = rows_of(params_.in_proj, 2 * inner(config_) + config_.ngroups * config_.d_state,
                           config_.ngroups* config_.d_state),
         dt_rows_ = rows_of(params_.in_proj, inner(config_) + channels(config_), heads(config_));
  short_conv<T, Backend> conv_{{channels(config_), config_.d_conv, config_.conv_bias},
                               {params_.conv1d_weight, params_.conv1d_bias}};
  weight dt_bias_ = decoded<T>(params_.dt_bias), A_ = negative_exp(params_.A_log),
         D_ = of_channels(params_.D, inner(config_)), norm_ = decoded<T>(params_.norm);  // tables of T
};

}  // namespace mneme::inline MNEME_ABI
