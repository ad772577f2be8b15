// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../math/bias.hpp"
#include "../math/hippo.hpp"
#include "detail/mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct lmu_config {
  index_t d_in = 1;
  index_t d_hidden = 0;  // H units of the hidden cell; 0: none, the output is the memory
  index_t memory_d = 1;  // M signals that are remembered
  index_t order = 1;     // N coefficients of each
  double theta = 1;      // length of the window, in tokens
  bool memory_to_memory = false;
  bool hidden_to_memory = false;
  bool input_to_hidden = false;
  bool bias = false;                          // of the remembered signals
  discretisation rule = discretisation::zoh;  // or euler, for theta much larger than order
};
struct lmu_params {
  weight kernel;            // [M, d_in], or [M, d_in + H] with hidden_to_memory
  weight bias;              // [M], or empty
  weight recurrent_kernel;  // [M, M N], or empty
  weight hidden_kernel;     // [H, M N], or [H, M N + d_in] with input_to_hidden; or empty, as the next two
  weight hidden_recurrent;  // [H, H]
  weight hidden_bias;       // [H]
  static constexpr void fields(auto&& f, auto&... p) {
    f("kernel", p.kernel...);
    f("bias", p.bias...);
    f("recurrent_kernel", p.recurrent_kernel...);
    f("hidden_cell.kernel", p.hidden_kernel...);
    f("hidden_cell.recurrent_kernel", p.hidden_recurrent...);
    f("hidden_cell.bias", p.hidden_bias...);
  }
};

// Legendre memory unit: the last theta tokens of M signals, as coefficients of Legendre polynomials.
//   u = W_u [x; h?] + b + W_m m;  m_j <- A m_j + B u_j for each signal j
//   h <- tanh(W_h [m; x?] + U h + c);  y = h
// Shapes: x [d_in]; u [M], M = memory_d; m [M, N], N = order, its rows m_j; A [N, N], B [N] of
// math/hippo.hpp, for steps of 1 / theta; y [H], or [M N], y = m, without a hidden cell. Optional terms are
// off unless asked for.
// Cost per token: 2 M N^2 + 2 M d_in + 2 H (M N + H) flops. State: M N + H elements of T. Row-stable.
// A signal r theta tokens ago is about sum_i m_i P_i(2r - 1), r in [0, 1].
// Source: Voelker, Kajic, Eliasmith, "Legendre Memory Units: Continuous-Time Representation in Recurrent
//   Neural Networks", 2019; options, names and the tanh cell as LMUCell of keras-lmu around a SimpleRNNCell.
// Deviations: tensors are [out, in], the transpose of what Keras stores. recurrent_kernel starts at 0 as in
//   the paper, the hidden cell uniform in +-1/sqrt(H) instead of orthogonal. theta is not learned.
template <class T, class Backend = default_backend<matmul>>
class lmu : public detail::mixer<lmu<T, Backend>, T, Backend, lmu_config, lmu_params> {
  using base = detail::mixer<lmu, T, Backend, lmu_config, lmu_params>;
  using base::config_, base::params_, base::project;
  using typename base::arch;
  using multiply = mneme::kernel<matmul, Backend>;

 public:
  using typename base::config, typename base::params;

  struct state {
    buffer<T> m;  // [M, N]
    buffer<T> h;  // [H]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("m", s.m...);
      f("h", s.h...);
    }
  };

  explicit lmu(config c, std::uint64_t seed = 0) : base(c, seed) { derive(); }
  // Fails if a tensor has another shape than the config asks for.
  lmu(config c, params p) : base(c, std::move(p)) { derive(); }

  static status check(const config& c) {
    if (const status sizes = expect_sizes(
            "lmu",
            {{"d_in", c.d_in}, {"d_hidden", c.d_hidden, 0}, {"memory_d", c.memory_d}, {"order", c.order}});
        !sizes)
      return sizes;
    if (!(c.theta > 0)) return message("lmu: theta is ", c.theta, ", expected a positive number");
    if (c.d_hidden == 0 && (c.hidden_to_memory || c.input_to_hidden))
      return message("lmu: d_hidden is 0, expected a hidden cell for hidden_to_memory or input_to_hidden");
    return {};
  }
  static config resolved(const config& c) { return c; }
  static tensor_plan<params> tensors(const config& c) {
    const index_t M = c.memory_d, H = c.d_hidden, MN = M * c.order;
    const index_t into = c.d_in + (c.hidden_to_memory ? H : 0),
                  onward = MN + (c.input_to_hidden ? c.d_in : 0);
    const auto glorot = [](index_t out, index_t in) {
      return [bound = std::sqrt(6 / static_cast<double>(in + out))](random_stream& draw, index_t) {
        return draw.uniform(-bound, bound);
      };
    };
    tensor_plan<params> t;
    t.add(&params::kernel, {M, into}, glorot(M, into));
    if (c.bias) t.add(&params::bias, {M}, starts::constant(0));
    if (c.memory_to_memory) t.add(&params::recurrent_kernel, {M, MN}, starts::constant(0));
    if (H == 0) return t;
    t.add(&params::hidden_kernel, {H, onward}, glorot(H, onward));
    t.add(&params::hidden_recurrent, {H, H});
    t.add(&params::hidden_bias, {H}, starts::constant(0));
    return t;
  }

  index_t d_in() const { return config_.d_in; }
  index_t d_out() const { return config_.d_hidden > 0 ? config_.d_hidden : config_.memory_d * config_.order; }
  state init(place where = {}) const {
    return {buffer<T>(config_.memory_d * config_.order, T(0), where),
            buffer<T>(config_.d_hidden, T(0), where)};
  }

  // The convolution view of one signal: row n of [N, rows] holds coefficient n of an impulse, A^t B.
  buffer<T> kernel(index_t rows) const {
    const index_t N = config_.order;
    const linear_system s = discretised(hippo_lmu(N), 1 / config_.theta, config_.rule);
    buffer<T> K(N * rows);
    dense_matrix x = s.B;
    for (index_t t = 0; t < rows; ++t, x = s.A * x)
      for (index_t n = 0; n < N; ++n) K[n * rows + t] = static_cast<T>(x(n, 0));
    return K;
  }

  // The memory runs through all rows of a lane, then the hidden cell; a row at a time where the memory reads
  // h.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const index_t piece = config_.hidden_to_memory ? 1 : l.rows, skip = l.rows - l.outs;
      for (index_t t = 0; t < l.rows; t += piece) {
        const index_t from = out + std::max(t, skip) - skip, to = out + std::max(t + piece, skip) - skip;
        run(ctx, *l.state, X.range(row + t, row + t + piece), Y.range(from, to));
      }
    });
  }

  static std::vector<config> samples() {
    return {
        {.d_in = 3, .memory_d = 2, .order = 5, .theta = 7},
        {.d_in = 2,
         .d_hidden = 9,
         .order = 17,
         .theta = 20,
         .memory_to_memory = true,
         .hidden_to_memory = true,
         .input_to_hidden = true,
         .bias = true},
        {.d_in = 5, .d_hidden = 4, .memory_d = 3, .order = 4, .theta = 40, .rule = discretisation::euler}};
  }

 private:
  void derive() {
    const index_t N = config_.order;
    const linear_system s = discretised(hippo_lmu(N), 1 / config_.theta, config_.rule);
    A_ = weight::zeros<T>(N, N), B_ = weight::zeros<T>(N);
    std::copy(s.A.elements.begin(), s.A.elements.end(), edit<T>(A_));
    std::copy(s.B.elements.begin(), s.B.elements.end(), edit<T>(B_));
  }
  void run(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const index_t H = config_.d_hidden, MN = config_.memory_d * config_.order, skip = X.rows() - Y.rows();
    const auto u = signals(ctx, scratch, s, X);
    const auto in = H > 0 ? scratch.template mat<T>(X.rows(), params_.hidden_kernel.cols()) : mat_view<T>();
    for (index_t t = 0; t < X.rows(); ++t) {
      remember(ctx, s, u[t]);
      if (H == 0 && t >= skip) std::copy(s.m.begin(), s.m.end(), Y[t - skip].begin());
      if (H > 0) std::copy(s.m.begin(), s.m.end(), in[t].begin());
      if (config_.input_to_hidden) std::copy(X[t].begin(), X[t].end(), in[t].begin() + MN);
    }
    if (H == 0) return;
    const auto z = project(ctx, scratch, params_.hidden_kernel, in);
    add_bias<arch>(ctx, params_.hidden_bias, z);
    const auto fed_back = scratch.template row<T>(H);
    for (index_t t = 0; t < X.rows(); ++t) {
      multiply::template run<T>(ctx, params_.hidden_recurrent, mat_view<const T>(row(s.h)),
                                mat_view<T>(fed_back));
      axpy<arch>(H, T(1), z[t].data(), fed_back.data());
      map_row<arch>(H, fed_back.data(), s.h.data(), []<class P>(P a) { return tanh(a); });
      if (t >= skip) std::copy(s.h.begin(), s.h.end(), Y[t - skip].begin());
    }
  }
  // W_u [x; h?] + b
  mat_view<T> signals(context& ctx, context::frame& scratch, const state& s,
                      mat_view<const T> X) const noexcept {
    mat_view<const T> in = X;
    if (config_.hidden_to_memory) {  // one row
      const auto both = scratch.template mat<T>(1, X.cols() + s.h.size());
      std::copy(X[0].begin(), X[0].end(), both.data());
      std::copy(s.h.begin(), s.h.end(), both.data() + X.cols());
      in = both;
    }
    const auto u = project(ctx, scratch, params_.kernel, in);
    if (config_.bias) add_bias<arch>(ctx, params_.bias, u);
    return u;
  }
  // m_j <- A m_j + B u_j, after u += W_m m.
  void remember(context& ctx, state& s, row_view<T> u) const noexcept {
    context::frame scratch(ctx);
    const index_t N = config_.order;
    if (config_.memory_to_memory)
      axpy<arch>(u.size(), T(1),
                 project(ctx, scratch, params_.recurrent_kernel, mat_view<const T>(row(s.m))).data(),
                 u.data());
    const auto next = project(ctx, scratch, A_, mat_view<const T>(s.m.data(), u.size(), N));
    for (index_t j = 0; j < u.size(); ++j) axpy<arch>(N, u[j], data<T>(B_), next[j].data());
    std::copy(next.data(), next.data() + s.m.size(), s.m.begin());
  }
  static row_view<const T> row(const buffer<T>& b) { return b.view(); }

  weight A_, B_;  // tables of T: the discretised window
};

}  // namespace mneme::inline MNEME_ABI
