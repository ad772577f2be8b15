// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "detail/time_mixing.hpp"

namespace mneme::inline MNEME_ABI {

struct rwkv6_config {
  index_t d_model = 1;
  index_t heads = 1;              // a divisor of d_model; released models have d_model / 64
  index_t mix_rank = 32;          // of the low-rank part of the five token shifts
  index_t decay_rank = 64;        // of the low-rank part of the decay
  index_t layer = 0, layers = 1;  // where in a stack: for seeded starts only
  double epsilon = 64e-5;         // of the output norm
  dtype storage = dtype::f32;     // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct rwkv6_params {
  weight time_maa_x, time_maa_w, time_maa_k, time_maa_v, time_maa_r, time_maa_g;  // [1, 1, d_model]
  weight time_maa_w1, time_maa_w2;      // [d_model, 5 mix_rank], [5, mix_rank, d_model]; w, k, v, r, g
  weight time_decay;                    // [1, 1, d_model]
  weight time_decay_w1, time_decay_w2;  // [d_model, decay_rank], [decay_rank, d_model]
  weight time_faaaa;                    // [heads, d_model / heads]
  weight receptance, key, value, gate;  // [d_model, d_model]
  weight ln_x_weight, ln_x_bias;        // [d_model]
  weight output;                        // [d_model, d_model]
  static constexpr void fields(auto&& f, auto&... p) {
    f("time_maa_x", p.time_maa_x...);
    f("time_maa_w", p.time_maa_w...);
    f("time_maa_k", p.time_maa_k...);
    f("time_maa_v", p.time_maa_v...);
    f("time_maa_r", p.time_maa_r...);
    f("time_maa_g", p.time_maa_g...);
    f("time_maa_w1", p.time_maa_w1...);
    f("time_maa_w2", p.time_maa_w2...);
    f("time_decay", p.time_decay...);
    f("time_decay_w1", p.time_decay_w1...);
    f("time_decay_w2", p.time_decay_w2...);
    f("time_faaaa", p.time_faaaa...);
    f("receptance.weight", p.receptance...);
    f("key.weight", p.key...);
    f("value.weight", p.value...);
    f("gate.weight", p.gate...);
    f("ln_x.weight", p.ln_x_weight...);
    f("ln_x.bias", p.ln_x_bias...);
    f("output.weight", p.output...);
  }
};

// Time mixing of RWKV-6: decaying linear attention over tokens that are blends of two neighbours.
//   d = x_(t-1) - x;  m = tanh((x + mu_x d) W_1), in five parts;  x_n = x + (mu_n + m_n W_2n) d, n in wkvrg
//   r, k, v, g = W_r x_r, W_k x_k, W_v x_v, W_g x_g;  alpha = e^(-e^(decay + tanh(x_w D_1) D_2))
//   per head: o = S^T r + (sum_i r_i u_i k_i) v, of the state before the token;  S <- diag(alpha) S + k v^T
//   y = W_o (group_norm(o) silu(g))
// Shapes: x, y [D]; r, k, v, alpha, o, u [H, N]; D = d_model, H = heads, N = D / H; group_norm is per head.
// Cost per token: 10 D^2 + 20 D mix_rank + 4 D decay_rank + 5 D N flops. State: D N elements of Stored and D
// of T, whatever the length of the past. Row-stable.
// Source: Peng, Goldstein, Anthony, et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic
// Recurrence", 2024, section 4; layer and tensor names as RWKV_Tmix_x060 of BlinkDL/RWKV-LM, without the
// prefix blocks.<n>.att.
// Deviations: seeded matrices and low-rank factors start uniform in +-1/sqrt(fan in), where the paper's code
// starts some at zero and some orthogonal; the other tensors start as there.
template <class T, class Backend = default_backend<recurrence<rules::rwkv6>>, StoresElementsOf<T> Stored = T>
class rwkv6 : public detail::matrix_mixer<rwkv6<T, Backend, Stored>, T, Backend, rules::rwkv6, rwkv6_config,
                                          rwkv6_params, Stored> {
  using base = detail::matrix_mixer<rwkv6, T, Backend, rules::rwkv6, rwkv6_config, rwkv6_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using typename base::config, typename base::params;
  using state = detail::time_mixing_state<T, Stored>;
  using base::base;
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status sizes = expect_sizes("rwkv6", {{"d_model", c.d_model},
                                                    {"heads", c.heads},
                                                    {"mix_rank", c.mix_rank},
                                                    {"decay_rank", c.decay_rank}});
        !sizes)
      return sizes;
    if (c.d_model % c.heads != 0)
      return message("rwkv6: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads);
    if (c.layer < 0 || c.layer >= c.layers)
      return message("rwkv6: layer is ", c.layer, ", expected one of ", c.layers);
    if (!(c.epsilon >= 0)) return message("rwkv6: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }
  static config resolved(config c) { return c; }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.d_model / c.heads, c.d_model / c.heads};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, N = D / c.heads;
    const auto at = detail::depth_of(c.layer, c.layers);
    tensor_plan<params> t;
    for (const auto mu : {&params::time_maa_x, &params::time_maa_w, &params::time_maa_k})
      t.add(mu, {1, 1, D}, detail::shift_start(D, at.falling));
    t.add(&params::time_maa_v, {1, 1, D}, detail::shift_start(D, at.falling, 0.3 * at.rising));
    for (const auto mu : {&params::time_maa_r, &params::time_maa_g})
      t.add(mu, {1, 1, D}, detail::shift_start(D, 0.5 * at.falling));
    t.add(&params::time_maa_w1, {D, 5 * c.mix_rank}, starts::uniform(D));
    t.add(&params::time_maa_w2, {5, c.mix_rank, D}, starts::uniform(c.mix_rank));
    t.add(&params::time_decay, {1, 1, D},
          detail::along(D, [at](double x) { return -6 + 5 * std::pow(x, 0.7 + 1.3 * at.rising); }));
    t.add(&params::time_decay_w1, {D, c.decay_rank}, starts::uniform(D));
    t.add(&params::time_decay_w2, {c.decay_rank, D}, starts::uniform(c.decay_rank));
    t.add(&params::time_faaaa, {c.heads, N}, [at, D](random_stream&, index_t i) {
      const double x = static_cast<double>(i) / static_cast<double>(std::max<index_t>(D - 1, 1));
      return at.rising * (1 - x) + 0.1 * static_cast<double>((i + 1) % 3 - 1);
    });
    for (const auto matrix : {&params::receptance, &params::key, &params::value, &params::gate})
      t.add(matrix, {D, D}, c.storage);
    t.add(&params::ln_x_weight, {D}, starts::constant(1));
    t.add(&params::ln_x_bias, {D}, starts::constant(0));
    t.add(&params::output, {D, D}, c.storage);
    return t;
  }
  state init(place where = {}) const {
    return {buffer<T>(config_.d_model, T(0), where), base::empty_matrix(shape(config_), where)};
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3, .mix_rank = 2, .decay_rank = 3},
            {.d_model = 67, .heads = 1, .mix_rank = 1, .decay_rank = 1, .layer = 1, .layers = 3},
            {.d_model = 5, .heads = 1, .mix_rank = 3, .decay_rank = 2},
            {.d_model = 64, .heads = 2, .mix_rank = 5, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;
  struct gated_rows : recurrence_rows<T> {
    mat_view<const T> gate;
  };
  // As the kernels read them: small tensors of T, low-rank factors as projections [out, in].
  static params as_tables(params p) {
    for (const auto m : {&params::time_maa_x, &params::time_maa_w, &params::time_maa_k, &params::time_maa_v,
                         &params::time_maa_r, &params::time_maa_g, &params::time_decay, &params::time_faaaa,
                         &params::ln_x_weight, &params::ln_x_bias})
      p.*m = decoded<T>(p.*m);
    for (const auto m : {&params::time_maa_w1, &params::time_decay_w1, &params::time_decay_w2})
      p.*m = detail::turned<T>(p.*m);
    return p;
  }
  static std::array<weight, 5> parts_of(const weight& w2) {
    std::array<weight, 5> parts;
    for (index_t n = 0; n < 5; ++n)
      parts[static_cast<std::size_t>(n)] = detail::turned<T>(rows_of(w2, n * w2.dim(1), w2.dim(1)));
    return parts;
  }

  // What blends are made of: rows, their differences to the rows before, and m.
  struct mixed {
    mat_view<const T> x, d, m;
  };
  mixed mix(context& ctx, context::frame& scratch, mat_view<const T> X, mat_view<const T> d) const noexcept {
    const auto shifted = detail::shifted<arch>(scratch, X, d, tables_.time_maa_x);
    return {X, d, tanh_of(project(ctx, scratch, tables_.time_maa_w1, shifted))};
  }
  static mat_view<T> tanh_of(mat_view<T> M) noexcept {
    map_rows<arch>(M, []<class P>(P a) { return tanh(a); });
    return M;
  }
  mat_view<T> blend(context& ctx, context::frame& scratch, const mixed& in, index_t part,
                    const weight& mu) const noexcept {
    const index_t R = config_.mix_rank;
    const auto Y = project(ctx, scratch, mix_w2_[static_cast<std::size_t>(part)], in.m.columns(part * R, R));
    detail::shift_by<arch>(in.x, in.d, mu, Y);
    return Y;
  }
  gated_rows reading(context& ctx, context::frame& scratch, const mixed& in) const noexcept {
    const params& p = tables_;
    return {{.q = project(ctx, scratch, p.receptance, blend(ctx, scratch, in, 3, p.time_maa_r))},
            project(ctx, scratch, p.gate, blend(ctx, scratch, in, 4, p.time_maa_g))};
  }
  gated_rows asked(context& ctx, context::frame& scratch, const state& s,
                   mat_view<const T> x) const noexcept {
    return reading(ctx, scratch, mix(ctx, scratch, x, detail::shift_difference(scratch, s.shift, x)));
  }

  gated_rows operands(context& ctx, context::frame& scratch, lanes all, mat_view<const T> X) const noexcept {
    const params& p = tables_;
    const mixed in = mix(ctx, scratch, X, detail::shift_difference(scratch, all, &state::shift, X));
    gated_rows rows = reading(
        ctx, scratch, {needed(scratch, all, in.x), needed(scratch, all, in.d), needed(scratch, all, in.m)});
    const auto alpha =
        project(ctx, scratch, p.time_decay_w2,
                tanh_of(project(ctx, scratch, p.time_decay_w1, blend(ctx, scratch, in, 0, p.time_maa_w))));
    for (index_t r = 0; r < alpha.rows(); ++r)
      for_packs<T, arch>(alpha.cols(), [&]<class P>(index_t i) {
        T* const a = alpha[r].data() + i;
        simd::store(a, exp(P(0) - exp(simd::load<P>(data<T>(p.time_decay) + i) + simd::load<P>(a))));
      });
    rows.k = project(ctx, scratch, p.key, blend(ctx, scratch, in, 1, p.time_maa_k));
    rows.v = project(ctx, scratch, p.value, blend(ctx, scratch, in, 2, p.time_maa_v));
    rows.alpha = alpha;
    return rows;
  }
  void output(context& ctx, context::frame& scratch, lanes all, const gated_rows& in, mat_view<const T>,
              mat_view<T> o, mat_view<T> Y) const noexcept {
    if (in.k.rows() > 0)
      detail::add_bonus<arch>(config_.heads, tables_.time_faaaa, in.q, needed(scratch, all, in.k),
                              needed(scratch, all, in.v), o);
    detail::group_norm<arch>(config_.heads, config_.epsilon, tables_.ln_x_weight, tables_.ln_x_bias, o);
    kernel<silu_gate, Backend>::template run<T>(in.gate, o, o);
    kernel<matmul, Backend>::template run<T>(ctx, params_.output, o, Y);
  }

  params tables_ = as_tables(params_);
  std::array<weight, 5> mix_w2_ = parts_of(params_.time_maa_w2);  // of w, k, v, r, g
};

}  // namespace mneme::inline MNEME_ABI
