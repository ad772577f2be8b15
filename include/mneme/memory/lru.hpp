// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/diagonal_scan.hpp"
#include "../backend/cpu/matmul.hpp"
#include "detail/mixer.hpp"

#include <complex>

namespace mneme::inline MNEME_ABI {

struct lru_config {
  index_t d_model = 1;
  index_t d_hidden = 1;                           // N complex states
  double r_min = 0, r_max = 1, max_phase = 6.28;  // ring that seeded eigenvalues are drawn from
  dtype storage = dtype::f32;                     // of the seeded matrices; loaded weights keep their own
};
struct lru_params {
  weight theta_log, nu_log, gamma_log;  // [N]
  weight B_re, B_im;                    // [N, d_model]
  weight C_re, C_im;                    // [d_model, N]
  weight D;                             // [d_model]
  static constexpr void fields(auto&& f, auto&... p) {
    f("theta_log", p.theta_log...);
    f("nu_log", p.nu_log...);
    f("gamma_log", p.gamma_log...);
    f("B_re", p.B_re...);
    f("B_im", p.B_im...);
    f("C_re", p.C_re...);
    f("C_im", p.C_im...);
    f("D", p.D...);
  }
};

// Linear recurrent unit: complex states on a ring, which decay and turn.
//   lambda = exp(-e^nu_log + i e^theta_log);  h <- lambda h + e^gamma_log (B_re + i B_im) x
//   y = Re((C_re + i C_im) h) + D x
// Shapes: x, y [D], D = d_model; h, lambda [N] complex, N = d_hidden; states are not pairs: no factor 2.
// Cost per token: 8 D N + 8 N flops. State: 2 N elements of T. Row-stable.
// Source: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu, De, "Resurrecting Recurrent Neural Networks for
//   Long Sequences", 2023, section 3; tensor names and starts as LRU of minimal-LRU.
// Deviations: none.
template <class T, class Backend = default_backend<diagonal_scan>>
class lru : public detail::mixer<lru<T, Backend>, T, Backend, lru_config, lru_params> {
  using base = detail::mixer<lru, T, Backend, lru_config, lru_params>;
  using base::config_, base::params_;
  using typename base::arch;

 public:
  using typename base::config, typename base::params;

  struct state {
    buffer<T> h;  // [2, N]: real parts, then imaginary parts
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("h", s.h...); }
  };

  explicit lru(config c, std::uint64_t seed = 0) : base(c, seed) {
    const float* const nu = data<float>(params_.nu_log);
    for (index_t n = 0; n < config_.d_hidden;
         ++n)  // gamma = sqrt(1 - |lambda|^2): states as large as their inputs
      edit<float>(params_.gamma_log)[n] =
          static_cast<float>(std::log(-std::expm1(-2 * std::exp(static_cast<double>(nu[n])))) / 2);
    derive();
  }
  // Fails if a tensor has another shape than the config asks for.
  lru(config c, params p) : base(c, std::move(p)) { derive(); }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (c.d_model < 1 || c.d_hidden < 1)
      return message("lru: d_model is ", c.d_model, " and d_hidden is ", c.d_hidden, ", expected at least 1");
    if (!(c.r_min >= 0 && c.r_min < c.r_max && c.r_max <= 1 && c.max_phase > 0))
      return message("lru: radii from ", c.r_min, " to ", c.r_max, " and phases up to ", c.max_phase,
                     ", expected a ring within the unit circle");
    return {};
  }
  static config resolved(const config& c) { return c; }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, N = c.d_hidden;
    const auto scaled = [](index_t n) { return starts::normal(1 / std::sqrt(static_cast<double>(n))); };
    const auto inside = [](random_stream& draw) { return std::max(draw.unit(), 0x1p-53); };  // in (0, 1)
    tensor_plan<params> t;
    t.add(&params::theta_log, {N},
          [=](random_stream& draw, index_t) { return std::log(c.max_phase * inside(draw)); });
    t.add(&params::nu_log, {N}, [=](random_stream& draw, index_t) {
      const double low = c.r_min * c.r_min, high = c.r_max * c.r_max;  // uniform on the area of the ring
      return std::log(-std::log(low + inside(draw) * (high - low)) / 2);
    });
    t.add(&params::gamma_log, {N}, starts::constant(0));
    t.add(&params::B_re, {N, D}, scaled(2 * D), c.storage);
    t.add(&params::B_im, {N, D}, scaled(2 * D), c.storage);
    t.add(&params::C_re, {D, N}, scaled(N), c.storage);
    t.add(&params::C_im, {D, N}, scaled(N), c.storage);
    t.add(&params::D, {D}, starts::normal(1));
    return t;
  }
  state init(place where = {}) const { return {buffer<T>(2 * config_.d_hidden, T(0), where)}; }

  // The convolution view, without the term D x: row o D + i of [D D, rows] holds what an impulse at input i
  // does to output o, Re sum_n C[o, n] lambda_n^t e^gamma_log[n] B[n, i].
  buffer<T> kernel(index_t rows) const {
    using complex = std::complex<double>;
    const index_t D = config_.d_model, N = config_.d_hidden;
    const weight br = decoded<double>(params_.B_re), bi = decoded<double>(params_.B_im),
                 cr = decoded<double>(params_.C_re), ci = decoded<double>(params_.C_im);
    const auto at = [](const weight& w, index_t i) { return data<double>(w)[i]; };
    const T *const lambda = data<T>(lambda_), *const gamma = data<T>(gamma_);
    buffer<T> K(D * D * rows);
    for (index_t o = 0; o < D; ++o)
      for (index_t i = 0; i < D; ++i) {
        buffer<double> sums(rows);
        for (index_t n = 0; n < N; ++n) {
          const complex turn(static_cast<double>(lambda[n]), static_cast<double>(lambda[N + n]));
          complex term = complex(at(cr, o * N + n), at(ci, o * N + n)) *
                         complex(at(br, n * D + i), at(bi, n * D + i)) * static_cast<double>(gamma[n]);
          for (double& sum : sums) sum += term.real(), term *= turn;
        }
        std::copy(sums.begin(), sums.end(), K.begin() + (o * D + i) * rows);
      }
    return K;
  }

  // The projections read their weights once for all lanes; the recurrence goes lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    using multiply = mneme::kernel<matmul, Backend>;
    context::frame scratch(ctx);
    const index_t D = config_.d_model, N = config_.d_hidden;
    const auto u = scratch.template mat<T>(X.rows(), 2 * N), h = scratch.template mat<T>(Y.rows(), 2 * N);
    multiply::template run<T>(ctx, params_.B_re, X, u.columns(0, N));
    multiply::template run<T>(ctx, params_.B_im, X, u.columns(N, N));
    for (index_t t = 0; t < u.rows(); ++t)
      for_packs<T, arch>(2 * N, [gamma = data<T>(gamma_), row = u[t].data()]<class P>(index_t n) {
        simd::store(row + n, simd::load<P>(gamma + n) * simd::load<P>(row + n));
      });
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      mneme::kernel<diagonal_scan, Backend>::template run<T>(ctx, {data<T>(lambda_), 2 * N},
                                                             u.range(row, row + l.rows), l.state->h.view(),
                                                             h.range(out, out + l.outs));
    });
    if (Y.rows() == 0) return;
    const auto imaginary = scratch.template mat<T>(Y.rows(), D);
    const auto x = needed(scratch, lanes, X);
    multiply::template run<T>(ctx, params_.C_re, h.columns(0, N), Y);
    multiply::template run<T>(ctx, params_.C_im, h.columns(N, N), imaginary);
    for (index_t t = 0; t < Y.rows(); ++t)
      for_packs<T, arch>(D, [d = data<T>(D_), y = Y[t].data(), in = x[t].data(),
                             im = imaginary[t].data()]<class P>(index_t i) {
        const P real = simd::load<P>(y + i) - simd::load<P>(im + i);
        simd::store(y + i, simd::fma(simd::load<P>(d + i), simd::load<P>(in + i), real));
      });
  }

  static std::vector<config> samples() {
    return {{.d_model = 5, .d_hidden = 3},
            {.d_model = 1, .d_hidden = 1, .r_min = 0.9, .r_max = 0.99},
            {.d_model = 32, .d_hidden = 35, .r_min = 0.5, .max_phase = 0.3},
            {.d_model = 64, .d_hidden = 32, .storage = dtype::q8_0}};
  }

 private:
  void derive() {
    const index_t N = config_.d_hidden;
    const weight nu = decoded<double>(params_.nu_log), theta = decoded<double>(params_.theta_log),
                 gamma = decoded<double>(params_.gamma_log);
    lambda_ = weight::zeros<T>(2 * N), gamma_ = weight::zeros<T>(2 * N);
    T *const lambda = edit<T>(lambda_), *const scale = edit<T>(gamma_);
    for (index_t n = 0; n < N; ++n) {
      const double radius = std::exp(-std::exp(data<double>(nu)[n])),
                   angle = std::exp(data<double>(theta)[n]);
      lambda[n] = static_cast<T>(radius * std::cos(angle));
      lambda[N + n] = static_cast<T>(radius * std::sin(angle));
      scale[n] = scale[N + n] = static_cast<T>(std::exp(data<double>(gamma)[n]));
    }
    D_ = decoded<T>(params_.D);
  }

  weight lambda_, gamma_, D_;  // tables of T: [2 N] split, e^gamma_log twice, [D]
};

}  // namespace mneme::inline MNEME_ABI
