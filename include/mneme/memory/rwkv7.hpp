// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../math/feature_map.hpp"
#include "detail/time_mixing.hpp"

namespace mneme::inline MNEME_ABI {

// What a layer has to do with the values of the first layer, which all later layers blend into theirs. A
// memory maps rows to rows, so they travel in the rows:
//   none   x -> y: no value residual
//   gives  x -> [y, v_first]: the first layer
//   takes  [x, v_first] -> y: a later layer
enum class value_residual : std::uint8_t { none, gives, takes };

struct rwkv7_config {
  index_t d_model = 1;
  index_t heads = 1;  // a divisor of d_model; released models have d_model / 64
  value_residual residual = value_residual::none;
  index_t decay_rank = 0;         // of w1, w2; 0: max(32, 32 round(2.5 sqrt(d_model) / 32))
  index_t rate_rank = 0;          // of a1, a2; 0: likewise
  index_t value_rank = 0;         // of v1, v2; 0: the same with 1.7
  index_t gate_rank = 0;          // of g1, g2; 0: the same with 5
  index_t layer = 0, layers = 1;  // where in a stack: for seeded starts only
  double epsilon = 64e-5;         // of the output norm
  dtype storage = dtype::f32;     // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct rwkv7_params {
  weight x_r, x_w, x_k, x_v, x_a, x_g;    // [1, 1, d_model]
  weight w0, w1, w2;                      // [1, 1, d_model], [d_model, decay_rank], [decay_rank, d_model]
  weight a0, a1, a2;                      // the same with rate_rank
  weight v0, v1, v2;                      // the same with value_rank, or empty
  weight g1, g2;                          // [d_model, gate_rank], [gate_rank, d_model]
  weight k_k, k_a;                        // [1, 1, d_model]
  weight r_k;                             // [heads, d_model / heads]
  weight receptance, key, value, output;  // [d_model, d_model]
  weight ln_x_weight, ln_x_bias;          // [d_model]
  static constexpr void fields(auto&& f, auto&... p) {
    f("x_r", p.x_r...);
    f("x_w", p.x_w...);
    f("x_k", p.x_k...);
    f("x_v", p.x_v...);
    f("x_a", p.x_a...);
    f("x_g", p.x_g...);
    f("w0", p.w0...);
    f("w1", p.w1...);
    f("w2", p.w2...);
    f("a0", p.a0...);
    f("a1", p.a1...);
    f("a2", p.a2...);
    f("v0", p.v0...);
    f("v1", p.v1...);
    f("v2", p.v2...);
    f("g1", p.g1...);
    f("g2", p.g2...);
    f("k_k", p.k_k...);
    f("k_a", p.k_a...);
    f("r_k", p.r_k...);
    f("receptance.weight", p.receptance...);
    f("key.weight", p.key...);
    f("value.weight", p.value...);
    f("output.weight", p.output...);
    f("ln_x.weight", p.ln_x_weight...);
    f("ln_x.bias", p.ln_x_bias...);
  }
};

// Time mixing of RWKV-7: a delta rule with decay and rate per channel that erases one key, writes another.
//   d = x_(t-1) - x;  x_n = x + mu_n d, n in r w k v a g
//   r, k, v = W_r x_r, W_k x_k, W_v x_v;  of a later layer v <- v + sigmoid(v0 + x_v V_1 V_2) (v_first - v)
//   alpha = e^(-e^-0.5 sigmoid(w0 + tanh(x_w W_1) W_2));  a = sigmoid(a0 + x_a A_1 A_2)
//   g = sigmoid(x_g G_1) G_2
//   per head: c = k k_k / |k k_k|;  k <- k (1 + (a - 1) k_a)         |z| = sqrt(sum z^2 + 1e-24)
//   S <- diag(alpha) S - (a c) (S^T c)^T + k v^T, S^T c of the state before the token;  o = S^T r
//   y = W_o ((group_norm(o) + (sum_i r_i r_k_i k_i) v) g)
// Shapes: x, y, v_first [D]; r, k, v, alpha, a, c, o, r_k [H, N]; D = d_model, H = heads, N = D / H;
// group_norm is per head. A row is x, or x and v_first; its output y, or y and v: see value_residual.
// Cost per token: 8 D^2 + 4 D (decay_rank + rate_rank + value_rank + gate_rank) + 9 D N flops. State: D N
// elements of Stored and D of T, whatever the length of the past. Row-stable.
// Source: Peng, Zhang, Goldstein, et al., "RWKV-7 'Goose' with Expressive Dynamic State Evolution", 2025,
// section 4; layer and tensor names as RWKV_Tmix_x070 of BlinkDL/RWKV-LM, without the prefix blocks.<n>.att.
// Deviations: seeded matrices and low-rank factors start uniform in +-1/sqrt(fan in), where the paper's code
// starts some at zero and some orthogonal; the other tensors start as there. v0, v1, v2 of a first layer,
// which some checkpoints hold and nothing reads, are left out.
template <class T, class Backend = default_backend<recurrence<rules::rwkv7>>, StoresElementsOf<T> Stored = T>
class rwkv7 : public detail::matrix_mixer<rwkv7<T, Backend, Stored>, T, Backend, rules::rwkv7, rwkv7_config,
                                          rwkv7_params, Stored> {
  using base = detail::matrix_mixer<rwkv7, T, Backend, rules::rwkv7, rwkv7_config, rwkv7_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using typename base::config, typename base::params;
  using state = detail::time_mixing_state<T, Stored>;
  using base::base;

  index_t d_in() const { return config_.d_model * (config_.residual == value_residual::takes ? 2 : 1); }
  index_t d_out() const { return config_.d_model * (config_.residual == value_residual::gives ? 2 : 1); }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status sizes = expect_sizes("rwkv7", {{"d_model", c.d_model},
                                                    {"heads", c.heads},
                                                    {"decay_rank", c.decay_rank, 0},
                                                    {"rate_rank", c.rate_rank, 0},
                                                    {"value_rank", c.value_rank, 0},
                                                    {"gate_rank", c.gate_rank, 0}});
        !sizes)
      return sizes;
    if (c.d_model % c.heads != 0)
      return message("rwkv7: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads);
    if (c.layer < 0 || c.layer >= c.layers)
      return message("rwkv7: layer is ", c.layer, ", expected one of ", c.layers);
    if (!(c.epsilon >= 0)) return message("rwkv7: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }
  static config resolved(config c) {
    const auto rank = [&c](index_t& r, double factor) {
      if (r == 0)
        r = std::max<index_t>(32, 32 * std::lround(factor * std::sqrt(static_cast<double>(c.d_model)) / 32));
    };
    rank(c.decay_rank, 2.5), rank(c.rate_rank, 2.5), rank(c.value_rank, 1.7), rank(c.gate_rank, 5);
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.d_model / c.heads, c.d_model / c.heads};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, N = D / c.heads;
    const auto at = detail::depth_of(c.layer, c.layers);
    const auto zigzag = [N](index_t i) {
      const double half = static_cast<double>(N - 1) / 2;
      const double z = N > 1 ? (static_cast<double>(i % N) - half) / half : 0;
      return z * std::abs(z);
    };
    const auto slope = [D](index_t i) {
      return static_cast<double>(i) / static_cast<double>(std::max<index_t>(D - 1, 1)) - 0.5;
    };
    tensor_plan<params> t;
    const auto row = [&](member m, start first) { t.add(m, {1, 1, D}, std::move(first)); };
    const auto factors = [&](member down, member up, index_t rank) {
      t.add(down, {D, rank}, starts::uniform(D));
      t.add(up, {rank, D}, starts::uniform(rank));
    };
    for (const auto m : {&params::x_r, &params::x_g}) row(m, detail::shift_start(D, 0.2 * at.falling));
    for (const auto m : {&params::x_k, &params::x_v}) row(m, detail::shift_start(D, 0.7 * at.falling));
    for (const auto m : {&params::x_w, &params::x_a}) row(m, detail::shift_start(D, 0.9 * at.falling));
    row(&params::w0, [=](random_stream&, index_t i) {
      return -5.5 + 6 * std::pow(slope(i) + 0.5, 1 + std::pow(at.rising, 0.3)) + 2.5 * zigzag(i);
    });
    row(&params::a0, [=](random_stream&, index_t i) { return -0.19 + 0.3 * zigzag(i) + 0.4 * slope(i); });
    row(&params::k_k, [=](random_stream&, index_t i) { return 0.71 - 0.1 * slope(i); });
    row(&params::k_a, starts::constant(1.02));
    t.add(&params::r_k, {c.heads, N}, starts::constant(-0.04));
    factors(&params::w1, &params::w2, c.decay_rank);
    factors(&params::a1, &params::a2, c.rate_rank);
    factors(&params::g1, &params::g2, c.gate_rank);
    if (c.residual == value_residual::takes) {
      row(&params::v0, [=](random_stream&, index_t i) { return 0.73 - 0.4 * slope(i); });
      factors(&params::v1, &params::v2, c.value_rank);
    }
    for (const auto m : {&params::receptance, &params::key, &params::value, &params::output})
      t.add(m, {D, D}, c.storage);
    t.add(&params::ln_x_weight, {D}, starts::constant(1));
    t.add(&params::ln_x_bias, {D}, starts::constant(0));
    return t;
  }
  state init(place where = {}) const {
    return {buffer<T>(config_.d_model, T(0), where), base::empty_matrix(shape(config_), where)};
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3, .decay_rank = 2, .rate_rank = 3, .gate_rank = 5},
            {.d_model = 67, .heads = 1, .residual = value_residual::gives, .gate_rank = 1, .layers = 3},
            {.d_model = 10,
             .heads = 2,
             .residual = value_residual::takes,
             .value_rank = 1,
             .layer = 1,
             .layers = 2},
            {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using member = weight params::*;
  using lanes = std::span<const lane<state>>;
  struct gated_rows : recurrence_rows<T> {
    mat_view<const T> gate;
  };

  // As the kernels read them: small tensors of T, low-rank factors as projections [out, in].
  static params as_tables(params p) {
    for (const member m : {&params::x_r, &params::x_w, &params::x_k, &params::x_v, &params::x_a, &params::x_g,
                           &params::w0, &params::a0, &params::v0, &params::k_k, &params::k_a, &params::r_k,
                           &params::ln_x_weight, &params::ln_x_bias})
      if (p.*m) p.*m = decoded<T>(p.*m);
    for (const member m : {&params::w1, &params::w2, &params::a1, &params::a2, &params::v1, &params::v2,
                           &params::g1, &params::g2})
      if (p.*m) p.*m = detail::turned<T>(p.*m);
    return p;
  }

  gated_rows operands(context& ctx, context::frame& scratch, lanes all, mat_view<const T> X) const noexcept {
    const index_t D = config_.d_model;
    const params& p = tables_;
    const auto x = X.columns(0, D), d = detail::shift_difference(scratch, all, &state::shift, x);
    const auto blend = [&](const weight& mu) { return detail::shifted<arch>(scratch, x, d, mu); };
    const auto same = []<class P>(P a) { return a; };

    gated_rows rows = reading(ctx, scratch, needed(scratch, all, x), needed(scratch, all, d));
    const auto x_v = blend(p.x_v);
    const auto k = project(ctx, scratch, p.key, blend(p.x_k)), v = project(ctx, scratch, p.value, x_v),
               alpha = through(ctx, scratch, p.w1, p.w2, blend(p.x_w), []<class P>(P a) { return tanh(a); }),
               rate = through(ctx, scratch, p.a1, p.a2, blend(p.x_a), same),
               erased = scratch.template mat<T>(X.rows(), D);
    if (config_.residual == value_residual::takes)
      blend_values(X.columns(D, D), through(ctx, scratch, p.v1, p.v2, x_v, same), v);
    for (index_t r = 0; r < X.rows(); ++r) {
      T *const kr = k[r].data(), *const ar = alpha[r].data(), *const rr = rate[r].data(),
               *const er = erased[r].data();
      for_packs<T, arch>(D, [&]<class P>(index_t i) {
        const auto row = [i](const weight& w) { return simd::load<P>(data<T>(w) + i); };
        const P key = simd::load<P>(kr + i), a = sigmoid(row(p.a0) + simd::load<P>(rr + i));
        simd::store(er + i, P(0) - key * row(p.k_k));
        simd::store(rr + i, a);
        simd::store(kr + i, key * simd::fma(a - P(1), row(p.k_a), P(1)));
        constexpr T strongest = T(-0.60653065971263342);  // -e^-0.5
        simd::store(ar + i, exp(P(strongest) * sigmoid(row(p.w0) + simd::load<P>(ar + i))));
      });
      for (index_t i = 0; i < D; i += D / config_.heads)
        l2_normalise<arch>(erased[r].sub(i, D / config_.heads), T(1e-24));
      for_packs<T, arch>(D, [&]<class P>(index_t i) {
        simd::store(rr + i, P(0) - simd::load<P>(rr + i) * simd::load<P>(er + i));
      });
    }
    rows.k = k, rows.v = v, rows.alpha = alpha, rows.a = erased, rows.b = rate;
    return rows;
  }
  static mat_view<T> through(context& ctx, context::frame& scratch, const weight& down, const weight& up,
                             mat_view<const T> in, auto&& f) noexcept {
    const auto narrow = project(ctx, scratch, down, in);
    map_rows<arch>(narrow, f);
    return project(ctx, scratch, up, narrow);
  }
  gated_rows reading(context& ctx, context::frame& scratch, mat_view<const T> x,
                     mat_view<const T> d) const noexcept {
    const params& p = tables_;
    return {{.q = project(ctx, scratch, p.receptance, detail::shifted<arch>(scratch, x, d, p.x_r))},
            through(ctx, scratch, p.g1, p.g2, detail::shifted<arch>(scratch, x, d, p.x_g),
                    []<class P>(P a) { return sigmoid(a); })};
  }
  gated_rows asked(context& ctx, context::frame& scratch, const state& s,
                   mat_view<const T> X) const noexcept {
    const auto x = X.columns(0, config_.d_model), d = detail::shift_difference(scratch, s.shift, x);
    gated_rows rows = reading(ctx, scratch, x, d);
    if (config_.residual == value_residual::gives)
      rows.v = project(ctx, scratch, tables_.value, detail::shifted<arch>(scratch, x, d, tables_.x_v));
    return rows;
  }
  // v <- v + sigmoid(v0 + share) (first - v)
  void blend_values(mat_view<const T> first, mat_view<const T> share, mat_view<T> v) const noexcept {
    for (index_t r = 0; r < v.rows(); ++r)
      for_packs<T, arch>(v.cols(), [&]<class P>(index_t i) {
        const P own = simd::load<P>(v[r].data() + i);
        const P s = sigmoid(simd::load<P>(data<T>(tables_.v0) + i) + simd::load<P>(share[r].data() + i));
        simd::store(v[r].data() + i, simd::fma(s, simd::load<P>(first[r].data() + i) - own, own));
      });
  }
  void output(context& ctx, context::frame& scratch, lanes all, const gated_rows& in, mat_view<const T>,
              mat_view<T> o, mat_view<T> Y) const noexcept {
    const index_t D = config_.d_model;
    const auto v = needed(scratch, all, in.v);
    detail::group_norm<arch>(config_.heads, config_.epsilon, tables_.ln_x_weight, tables_.ln_x_bias, o);
    if (in.k.rows() > 0)
      detail::add_bonus<arch>(config_.heads, tables_.r_k, in.q, needed(scratch, all, in.k), v, o);
    for (index_t r = 0; r < o.rows(); ++r) {
      T* const y = o[r].data();
      for_packs<T, arch>(D, [&]<class P>(index_t i) {
        simd::store(y + i, simd::load<P>(y + i) * simd::load<P>(in.gate[r].data() + i));
      });
      if (config_.residual == value_residual::gives) std::copy(v[r].begin(), v[r].end(), Y[r].begin() + D);
    }
    kernel<matmul, Backend>::template run<T>(ctx, params_.output, o, Y.columns(0, D));
  }

  params tables_ = as_tables(params_);
};

}  // namespace mneme::inline MNEME_ABI
