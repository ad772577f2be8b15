// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/selective_scan.hpp"
#include "../core/compose/group.hpp"
#include "../layer/short_conv.hpp"

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
class selective_ssm {
 public:
  using scalar = T;
  using config = selective_ssm_config;
  using params = selective_ssm_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<T> conv_state;  // [d_conv - 1, E]: the last inputs of the convolution, oldest first
    buffer<T> ssm_state;   // [E, d_state]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("conv_state", s.conv_state...);
      f("ssm_state", s.ssm_state...);
    }
  };

  explicit selective_ssm(config c, std::uint64_t seed = 0) : selective_ssm(c, initial(c, seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  selective_ssm(config c, params p)
      : config_(c), params_(checked(c, std::move(p))), conv_({channels(), c.d_conv}, convolution(params_)) {
    x_rows_ = rows_of(params_.in_proj, 0, channels());
    z_rows_ = rows_of(params_.in_proj, channels(), channels());
    dt_bias_ = detail::decoded<T>(params_.dt_bias);
    D_ = detail::decoded<T>(params_.D);
    A_ = detail::decoded<T>(params_.A_log);
    T* a = edit<T>(A_);
    for (index_t i = 0; i < A_.size(); ++i) a[i] = -std::exp(a[i]);
  }
  static status check(const config& c) {
    if (c.d_model < 1 || c.d_state < 1 || c.d_conv < 1 || c.expand < 1 || c.dt_rank < 0)
      return message("selective_ssm: d_model is ", c.d_model, ", d_state is ", c.d_state, ", d_conv is ",
                     c.d_conv, ", expand is ", c.expand, ", dt_rank is ", c.dt_rank,
                     ", expected positive sizes");
    return {};
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  index_t channels() const { return channels(config_); }
  const config& configuration() const { return config_; }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  state init(place where = {}) const {
    return {buffer<T>((config_.d_conv - 1) * channels(), T(0), where),
            buffer<T>(channels() * config_.d_state, T(0), where)};
  }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    one_lane(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { one_lane(ctx, s, x, y); });
  }
  // The projections read their weights once for all lanes; convolution and recurrence go lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const index_t E = channels(), N = config_.d_state, R = dt_rank(config_);
    const auto x = scratch.mat<T>(X.rows(), E), u = scratch.mat<T>(X.rows(), E),
               gated = scratch.mat<T>(Y.rows(), E);
    project(ctx, x_rows_, X, x);
    if (Y.rows() > 0) project(ctx, z_rows_, wanted(scratch, lanes, X, Y.rows()), gated);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
      conv_.convolve(ctx, x.range(row, row + l.rows), l.state->conv_state, u.range(row, row + l.rows));
    });
    const auto selected = scratch.mat<T>(X.rows(), R + 2 * N);  // dt, B, C
    const auto delta = x;                                       // which is read no more
    project(ctx, params_.x_proj, u, selected);
    project(ctx, params_.dt_proj, selected.columns(0, R), delta);
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
    if (Y.rows() > 0) project(ctx, params_.out_proj, gated, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5, .d_state = 3, .d_conv = 2, .expand = 3},
            {.d_model = 1, .d_state = 1, .d_conv = 1, .expand = 1},
            {.d_model = 19},
            {.d_model = 12, .d_state = 17, .d_conv = 5, .dt_rank = 3}};
  }

 private:
  static index_t channels(const config& c) { return c.expand * c.d_model; }
  static index_t dt_rank(const config& c) { return c.dt_rank > 0 ? c.dt_rank : (c.d_model + 15) / 16; }

  static params checked(const config& c, params p) {
    check(c).or_fail();
    const index_t E = channels(c), N = c.d_state, R = dt_rank(c);
    expect_shape("in_proj.weight", p.in_proj, {2 * E, c.d_model}).or_fail();
    expect_shape("conv1d.weight", p.conv1d_weight, {E, 1, c.d_conv}).or_fail();
    expect_shape("conv1d.bias", p.conv1d_bias, {E}).or_fail();
    expect_shape("x_proj.weight", p.x_proj, {R + 2 * N, E}).or_fail();
    expect_shape("dt_proj.weight", p.dt_proj, {E, R}).or_fail();
    expect_shape("dt_proj.bias", p.dt_bias, {E}).or_fail();
    expect_shape("A_log", p.A_log, {E, N}).or_fail();
    expect_shape("D", p.D, {E}).or_fail();
    expect_shape("out_proj.weight", p.out_proj, {c.d_model, E}).or_fail();
    return p;
  }
  // The initialisation of the paper's code: A_log = log(1 .. N), D = 1, dt log-uniform in [0.001, 0.1].
  static params initial(const config& c, std::uint64_t seed) {
    check(c).or_fail();
    const index_t E = channels(c), N = c.d_state, R = dt_rank(c);
    const auto uniform = [seed](std::initializer_list<index_t> shape, index_t fan_in, std::uint64_t stream) {
      return uniform_weight(shape, fan_in, random_stream(seed, stream));
    };
    random_stream draw(seed, 5);
    const auto inverse_softplus_of_dt = [&draw] {
      const double dt = std::max(1e-4, std::exp(draw.uniform(std::log(1e-3), std::log(1e-1))));
      return dt + std::log(-std::expm1(-dt));
    };
    index_t i = 0;
    return {.in_proj = uniform({2 * E, c.d_model}, c.d_model, 0),
            .conv1d_weight = uniform({E, 1, c.d_conv}, c.d_conv, 1),
            .conv1d_bias = uniform({E}, c.d_conv, 2),
            .x_proj = uniform({R + 2 * N, E}, E, 3),
            .dt_proj = uniform({E, R}, R, 4),
            .dt_bias = filled_weight({E}, inverse_softplus_of_dt),
            .A_log = filled_weight({E, N}, [&i, N] { return std::log(static_cast<double>(1 + i++ % N)); }),
            .D = constant_weight({E}, 1),
            .out_proj = uniform({c.d_model, E}, E, 6)};
  }
  static short_conv_params convolution(const params& p) { return {p.conv1d_weight, p.conv1d_bias}; }
  static weight rows_of(const weight& w, index_t from, index_t count) {
    return {w.row(from), {count, w.cols(), 1}, 2, w.type(), std::make_shared<const weight>(w)};
  }

  void one_lane(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  void project(context& ctx, const weight& w, mat_view<const T> X, mat_view<T> Y) const noexcept {
    kernel<matmul, Backend>::template run<T>(ctx, w, X, Y);
  }
  // f(lane, its first row of X, its first row of Y).
  static void for_lanes(std::span<const lane<state>> lanes, auto&& f) {
    index_t row = 0, out = 0;
    for (const auto& l : lanes) {
      f(l, row, out);
      row += l.rows, out += l.outs;
    }
  }
  // The rows of X whose outputs are asked for.
  static mat_view<const T> wanted(context::frame& scratch, std::span<const lane<state>> lanes,
                                  mat_view<const T> X, index_t outs) {
    if (lanes.size() == 1 || outs == X.rows()) return X.last(outs);
    const auto rows = scratch.template mat<T>(outs, X.cols());
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      for (index_t i = 0; i < l.outs; ++i) {
        const auto from = X[row + l.rows - l.outs + i];
        std::copy(from.begin(), from.end(), rows[out + i].begin());
      }
    });
    return rows;
  }

  config config_;
  params params_;
  short_conv<T, Backend> conv_;
  weight x_rows_, z_rows_;  // of in_proj
  weight A_, dt_bias_, D_;  // tables of T
};

}  // namespace mneme::inline MNEME_ABI
