// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/diagonal_scan.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../math/bias.hpp"
#include "../math/hippo.hpp"
#include "detail/mixer.hpp"

#include <complex>
#include <numbers>

namespace mneme::inline MNEME_ABI {

enum class s4d_start : std::uint8_t {
  lin,   // -1/2 + i pi n: a Fourier basis
  inv,   // -1/2 + i (N / pi) (N / (2n+1) - 1)
  legs,  // the eigenvalues of the normal part of HiPPO-LegS, and its B in C
};
struct s4d_config {
  index_t d_model = 1;
  index_t d_state = 64;  // N, even: N / 2 pairs of conjugate states per channel
  s4d_start start = s4d_start::lin;
  discretisation rule = discretisation::zoh;  // or bilinear
  bool output = true;                         // GELU and a gated projection after the state-space model
  double dt_min = 1e-3, dt_max = 1e-1;        // range of seeded steps
  dtype storage = dtype::f32;                 // of the seeded projection; a loaded one keeps its own
};
struct s4d_params {
  weight D;                           // [d_model]
  weight C;                           // [d_model, N / 2, 2]: real and imaginary part
  weight log_dt;                      // [d_model]
  weight log_A_real, A_imag;          // [d_model, N / 2]
  weight output_weight, output_bias;  // [2 d_model, d_model, 1], [2 d_model]; or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("D", p.D...);
    f("kernel.C", p.C...);
    f("kernel.log_dt", p.log_dt...);
    f("kernel.log_A_real", p.log_A_real...);
    f("kernel.A_imag", p.A_imag...);
    f("output_linear.0.weight", p.output_weight...);
    f("output_linear.0.bias", p.output_bias...);
  }
};

// S4D: a bank of diagonal linear state-space models, one per channel.
//   A = -exp(log_A_real) + i A_imag;  h = exp(log_dt);  lambda = e^(h A), b = (lambda - 1) / A   (zoh)
//   or lambda = (1 + h A / 2) / (1 - h A / 2), b = h / (1 - h A / 2)                              (bilinear)
//   x_n <- lambda_n x_n + u;  s = 2 Re sum_n C_n b_n x_n + D u;  v, w = W gelu(s) + bias;  y = v sigmoid(w)
// Shapes: u, s, v, w, y [D], D = d_model; x, lambda, b, C [D, N / 2] complex. Without `output`, y = s.
// Cost per token: 5 N D + 4 D^2 flops. State: N D elements of T. Row-stable.
// Source: Gu, Gupta, Goel, Re, "On the Parameterization and Initialization of Diagonal State Space Models",
//   2022, sections 3 and 4; layer and tensor names as the minimal S4D of state-spaces/s4.
// Deviations: the state is that of the paper divided by b, which enters with C; B is no tensor: 1, or in C.
template <class T, class Backend = default_backend<diagonal_ssm>>
class s4d : public detail::mixer<s4d<T, Backend>, T, Backend, s4d_config, s4d_params> {
  using base = detail::mixer<s4d, T, Backend, s4d_config, s4d_params>;
  using base::config_, base::params_;
  using typename base::arch;
  using complex = std::complex<double>;

 public:
  using typename base::config, typename base::params;

  struct state {
    buffer<T> x;  // [N / 2, 2, D]: real parts of state n, then its imaginary parts
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("x", s.x...); }
  };

  explicit s4d(config c, std::uint64_t seed = 0) : base(c, seed) { derive(); }
  // Fails if a tensor has another shape than the config asks for.
  s4d(config c, params p) : base(c, std::move(p)) { derive(); }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (c.d_model < 1 || c.d_state < 2 || c.d_state % 2 != 0)
      return message("s4d: d_model is ", c.d_model, " and d_state is ", c.d_state,
                     ", expected a positive and a positive even size");
    if (c.rule != discretisation::zoh && c.rule != discretisation::bilinear)
      return message("s4d: rule is ", static_cast<int>(c.rule), ", expected zoh or bilinear");
    if (!(c.dt_min > 0) || !(c.dt_max >= c.dt_min))
      return message("s4d: steps from ", c.dt_min, " to ", c.dt_max, ", expected a positive range");
    return {};
  }
  static config resolved(const config& c) { return c; }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, half = c.d_state / 2;
    std::vector<legs_mode> modes(static_cast<std::size_t>(half), {0, 1});
    if (c.start == s4d_start::legs) modes = legs_modes(c.d_state);
    const auto N = static_cast<double>(c.d_state);
    for (std::size_t n = 0; n < modes.size(); ++n) {
      const auto i = static_cast<double>(n);
      if (c.start == s4d_start::lin) modes[n].frequency = std::numbers::pi * i;
      if (c.start == s4d_start::inv) modes[n].frequency = N / std::numbers::pi * (N / (2 * i + 1) - 1);
    }
    tensor_plan<params> t;
    t.add(&params::D, {D}, starts::normal(1));
    t.add(&params::C, {D, half, 2}, [modes](random_stream& draw, index_t i) {
      return std::sqrt(0.5) * draw.normal() * modes[static_cast<std::size_t>(i / 2) % modes.size()].input;
    });
    t.add(&params::log_dt, {D},
          [c](random_stream& draw, index_t) { return draw.uniform(std::log(c.dt_min), std::log(c.dt_max)); });
    t.add(&params::log_A_real, {D, half}, starts::constant(std::log(0.5)));
    t.add(&params::A_imag, {D, half}, [modes](random_stream&, index_t i) {
      return modes[static_cast<std::size_t>(i) % modes.size()].frequency;
    });
    if (c.output) {
      t.add(&params::output_weight, {2 * D, D, 1}, starts::uniform(D), c.storage);
      t.add(&params::output_bias, {2 * D}, starts::uniform(D));
    }
    return t;
  }
  state init(place where = {}) const { return {buffer<T>(config_.d_state * config_.d_model, T(0), where)}; }

  // The convolution view, without the term D u: row d of [D, rows] holds 2 Re sum_n C_n b_n lambda_n^t.
  buffer<T> kernel(index_t rows) const {
    const index_t D = config_.d_model;
    buffer<T> K(D * rows);
    for (index_t d = 0; d < D; ++d) {
      buffer<double> sums(rows);
      for (index_t n = 0; n < config_.d_state; n += 2) {
        const complex a = entry(lambda_, n, d);
        complex term = entry(C_, n, d);
        for (double& sum : sums) sum += term.real(), term *= a;
      }
      std::copy(sums.begin(), sums.end(), K.begin() + d * rows);
    }
    return K;
  }

  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const index_t D = config_.d_model, N = config_.d_state;
    const auto s = config_.output ? scratch.template mat<T>(Y.rows(), D) : Y;
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const diagonal_ssm_input<T> in{
          X.range(row, row + l.rows), {data<T>(lambda_), N, D}, {data<T>(C_), N, D}, {data<T>(D_), D}};
      mneme::kernel<diagonal_ssm, Backend>::template run<T>(ctx, in, {l.state->x.data(), N, D},
                                                            s.range(out, out + l.outs));
    });
    if (!config_.output || Y.rows() == 0) return;
    for (index_t t = 0; t < s.rows(); ++t)
      for (T& v : s[t]) v *= T(0.5) * std::erfc(v * T(-std::numbers::sqrt2 / 2));  // gelu
    const auto both = base::project(ctx, scratch, mix_, s);
    add_bias<arch>(ctx, params_.output_bias, both);
    detail::sigmoid_gate<arch, T>(both.columns(D, D), both.columns(0, D), Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5, .d_state = 6},
            {.d_model = 19, .d_state = 2, .start = s4d_start::inv, .output = false},
            {.d_model = 67, .d_state = 8, .start = s4d_start::legs, .rule = discretisation::bilinear}};
  }

 private:
  static complex entry(const weight& table, index_t n, index_t d) {
    const T* const at = data<T>(table) + n * table.cols() + d;
    return {static_cast<double>(*at), static_cast<double>(at[table.cols()])};
  }
  void derive() {
    const index_t D = config_.d_model, half = config_.d_state / 2;
    const weight C = decoded<double>(params_.C), re = decoded<double>(params_.log_A_real),
                 im = decoded<double>(params_.A_imag), log_dt = decoded<double>(params_.log_dt);
    lambda_ = weight::zeros<T>(2 * half, D);
    C_ = weight::zeros<T>(2 * half, D);
    T *const lambda = edit<T>(lambda_), *const c = edit<T>(C_);
    for (index_t d = 0; d < D; ++d)
      for (index_t n = 0; n < half; ++n) {
        const index_t i = d * half + n, to = 2 * n * D + d;
        const double h = std::exp(data<double>(log_dt)[d]);
        const complex A(-std::exp(data<double>(re)[i]), data<double>(im)[i]), z = h * A;
        const complex half_step = 1.0 - z / 2.0;
        const bool zoh = config_.rule == discretisation::zoh;
        const complex a = zoh ? std::exp(z) : (1.0 + z / 2.0) / half_step;
        const complex b = zoh ? exp_less_one(z) / A : h / half_step;
        const complex read = 2.0 * b * complex(data<double>(C)[2 * i], data<double>(C)[2 * i + 1]);
        lambda[to] = static_cast<T>(a.real()), lambda[to + D] = static_cast<T>(a.imag());
        c[to] = static_cast<T>(read.real()), c[to + D] = static_cast<T>(read.imag());
      }
    D_ = decoded<T>(params_.D);
    if (const weight& w = params_.output_weight)
      mix_ = weight(w.data(), {2 * D, D, 1}, 2, w.type(), std::make_shared<const weight>(w));
  }
  // e^z - 1 without cancellation near 0.
  static complex exp_less_one(complex z) {
    const double s = std::sin(z.imag() / 2), grown = std::exp(z.real());
    return {std::expm1(z.real()) * std::cos(z.imag()) - 2 * s * s, grown * std::sin(z.imag())};
  }

  weight lambda_, C_, D_;  // tables of T: [N, D] in pairs of rows, 2 C b among them
  weight mix_;             // output_weight as a matrix
};

}  // namespace mneme::inline MNEME_ABI
