// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/selective_scan.hpp"
#include "../layer/short_conv.hpp"
#include "detail/mixer.hpp"
#include "detail/softplus_decay.hpp"

namespace mneme::inline MNEME_ABI {

struct selective_ssm_config {
  index_t d_model = 1;
  index_t d_state = 16;
  index_t d_conv = 4;
  index_t expand = 2;   // E = expand d_model channels
  index_t dt_rank = 0;  // 0: ceil(d_model / 16)
};
struct selective_ssm_params {
  weight in_proj;        // [2 E, d_model]; x in the first E rows, z in the others
  weight conv1d_weight;  // [E, 1, d_conv]
  weight conv1d_bias;    // [E]
  weight x_proj;         // [dt_rank + 2 d_state, E]
  weight dt_proj;        // [E, dt_rank]
  weight dt_bias;        // [E]
  weight A_log;          // [E, d_state]
  weight D;              // [E]
  weight out_proj;       // [d_model, E]
  static constexpr void fields(auto&& f, auto&... p) {
    f("in_proj.weight", p.in_proj...);
    f("conv1d.weight", p.conv1d_weight...);
    f("conv1d.bias", p.conv1d_bias...);
    f("x_proj.weight", p.x_proj...);
    f("dt_proj.weight", p.dt_proj...);
    f("dt_proj.bias", p.dt_bias...);
    f("A_log", p.A_log...);
    f("D", p.D...);
    f("out_proj.weight", p.out_proj...);
  }
};

// The Mamba-1 mixer: a gated state-space model whose step size, input and output maps depend on the token.
//   x, z = W_in input;  u = silu(conv(x));  dt, B, C = W_x u;  delta = softplus(W_dt dt + dt_bias)
//   h[e, n] <- exp(delta[e] A[e, n]) h[e, n] + delta[e] B[n] u[e],  A = -exp(A_log)
//   y = W_out ((C.h + D u) silu(z))
// Shapes: input, y [d_model]; x, z, u, delta [E], E = expand d_model; B, C [N], N = d_state; dt [R].
// Cost per token: 6 d_model E + 2 E (2 R + 2 N + d_conv) + 6 E N flops and E N exps.
// State: E (N + d_conv - 1) elements of T, whatever the length of the past. Row-stable.
// Source: Gu, Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, algorithm 2 and
// figure 3.
// Deviation: public caches keep d_conv inputs of the convolution; to take one over, drop its oldest.
template <class T, class Backend = default_backend<selective_scan>>
class selective_ssm : public detail::mixer<selective_ssm<T, Backend>, T, Backend, selective_ssm_config,
                                           selective_ssm_params> {
  using base = detail::mixer<selective_ssm, T, Backend, selective_ssm_config, selective_ssm_params>;
  using base::config_, base::params_;

 public:
  using typename base::config, typename base::params;

  struct state {
    buffer<T> conv_state;  // [d_conv - 1, E]: the last inputs of the convolution, oldest first
    buffer<T> ssm_state;   // [E, d_state]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("conv_state", s.conv_state...);
      f("ssm_state", s.ssm_state...);
    }
  };

  explicit selective_ssm(config c, std::uint64_t seed = 0) : base(c, seed) { derive(); }
  // Fails if a tensor has another shape than the config asks for.
  selective_ssm(config c, params p) : base(c, std::move(p)) { derive(); }

  static status check(const config& c) {
    return expect_sizes("selective_ssm", {{"d_model", c.d_model},
                                          {"d_state", c.d_state},
                                          {"d_conv", c.d_conv},
                                          {"expand", c.expand},
                                          {"dt_rank", c.dt_rank, 0}});
  }
  static config resolved(config c) {
    if (c.dt_rank == 0) c.dt_rank = (c.d_model + 15) / 16;
    return c;
  }
  // Starts as in the paper's code: A_log = log(1 .. N), D = 1, dt log-uniform in [0.001, 0.1].
  static tensor_plan<params> tensors(const config& c) {
    const index_t E = c.expand * c.d_model, N = c.d_state, R = c.dt_rank;
    tensor_plan<params> t;
    t.add(&params::in_proj, {2 * E, c.d_model});
    t.add(&params::conv1d_weight, {E, 1, c.d_conv});
    t.add(&params::conv1d_bias, {E}, starts::uniform(c.d_conv));
    t.add(&params::x_proj, {R + 2 * N, E});
    t.add(&params::dt_proj, {E, R});
    t.add(&params::dt_bias, {E}, detail::drawn_dt_bias());
    t.add(&params::A_log, {E, N},
          [N](random_stream&, index_t i) { return std::log(static_cast<double>(1 + i % N)); });
    t.add(&params::D, {E}, starts::constant(1));
    t.add(&params::out_proj, {c.d_model, E});
    return t;
  }

  index_t channels() const { return config_.expand * config_.d_model; }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  state init(place where = {}) const {
    return {buffer<T>((config_.d_conv - 1) * channels(), T(0), where),
            buffer<T>(channels() * config_.d_state, T(0), where)};
  }
  // The projections read their weights once for all lanes; convolution and recurrence go lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const index_t E = channels(), N = config_.d_state, R = config_.dt_rank;
    const auto x = base::project(ctx, scratch, x_rows_, X),
               gated = base::project(ctx, scratch, z_rows_, needed(scratch, lanes, X)),
               u = scratch.template mat<T>(X.rows(), E);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
      conv_->convolve(ctx, x.range(row, row + l.rows), l.state->conv_state, u.range(row, row + l.rows));
    });
    const auto selected = base::project(ctx, scratch, params_.x_proj, u);  // dt, B, C
    const auto delta = x;                                                  // which is read no more
    kernel<matmul, Backend>::template run<T>(ctx, params_.dt_proj, selected.columns(0, R), delta);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const auto of_lane = [&](mat_view<T> all) { return mat_view<const T>(all.range(row, row + l.rows)); };
      const auto y = gated.range(out, out + l.outs);
      const selective_scan_input<T> in{.u = of_lane(u),
                                       .delta = of_lane(delta),
                                       .A = {data<T>(A_), E, N},
                                       .B = of_lane(selected.columns(R, N)),
                                       .C = of_lane(selected.columns(R + N, N)),
                                       .delta_bias = {data<T>(dt_bias_), E},
                                       .D = {data<T>(D_), E},
                                       .z = y};
      kernel<selective_scan, Backend>::template run<T>(ctx, in, {l.state->ssm_state.data(), E, N}, y);
    });
    if (Y.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, params_.out_proj, gated, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5, .d_state = 3, .d_conv = 2, .expand = 3},
            {.d_model = 1, .d_state = 1, .d_conv = 1, .expand = 1},
            {.d_model = 19},
            {.d_model = 12, .d_state = 17, .d_conv = 5, .dt_rank = 3}};
  }

 private:
  void derive() {
    const index_t E = channels();
    conv_.emplace(short_conv_config{E, config_.d_conv},
                  short_conv_params{params_.conv1d_weight, params_.conv1d_bias});
    x_rows_ = rows_of(params_.in_proj, 0, E);
    z_rows_ = rows_of(params_.in_proj, E, E);
    dt_bias_ = decoded<T>(params_.dt_bias);
    D_ = decoded<T>(params_.D);
    A_ = decoded<T>(params_.A_log);
    T* a = edit<T>(A_);
    for (index_t i = 0; i < A_.size(); ++i) a[i] = -std::exp(a[i]);
  }

  std::optional<short_conv<T, Backend>> conv_;
  weight x_rows_, z_rows_;  // of in_proj
  weight A_, dt_bias_, D_;  // tables of T
};

}  // namespace mneme::inline MNEME_ABI
