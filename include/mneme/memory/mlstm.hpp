// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../math/bias.hpp"
#include "detail/group_norm.hpp"
#include "detail/matrix_mixer.hpp"
#include "detail/normaliser.hpp"

namespace mneme::inline MNEME_ABI {

enum class mlstm_gate { exponential, sigmoid };
struct mlstm_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;  // 0: d_model / (2 heads)
  index_t head_dim_v = 0;  // 0: d_model / heads
  mlstm_gate input_gate = mlstm_gate::exponential;
  bool normalise = true;             // divide what is read by |n.q|; only a sigmoid gate can do without
  double gate_soft_cap = 15;         // input and forget gates stay within +-this before they act; 0: no cap
  double normaliser_epsilon = 1e-6;  // added to the divisor of what is read
  double epsilon = 1e-6;             // of the output norm
  dtype storage = dtype::f32;        // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct mlstm_params {
  weight q, k;                             // [heads head_dim_k, d_model]
  weight v, ogate_preact;                  // [heads head_dim_v, d_model]
  weight igate_preact, igate_preact_bias;  // [heads, d_model], [heads]
  weight fgate_preact, fgate_preact_bias;  // [heads, d_model], [heads]
  weight multihead_norm;                   // [heads head_dim_v]
  weight out_proj;                         // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q.weight", p.q...);
    f("k.weight", p.k...);
    f("v.weight", p.v...);
    f("ogate_preact.weight", p.ogate_preact...);
    f("igate_preact.weight", p.igate_preact...);
    f("igate_preact.bias", p.igate_preact_bias...);
    f("fgate_preact.weight", p.fgate_preact...);
    f("fgate_preact.bias", p.fgate_preact_bias...);
    f("multihead_norm.weight", p.multihead_norm...);
    f("out_proj.weight", p.out_proj...);
  }
};

// mLSTM: the matrix memory of xLSTM, with an exponential input gate and a stabiliser, or with a sigmoid gate.
//   q, k, v = W_q x / sqrt(K), W_k x, W_v x
//   per head i = cap(W_i x + b_i);  f = cap(W_f x + b_f);  l = log sigmoid(f)       cap(a) = c tanh(a / c)
//     m' = max(l + m, i);  alpha = e^(l + m - m');  b = e^(i - m');  m <- m'
//     S <- alpha S + b k v^T;  n <- alpha n + b k;  h = S^T q / (max(|n.q|, e^-m) + normaliser_epsilon)
//   y = W_out (layer_norm(h) sigmoid(W_o x))
//   input_gate sigmoid: alpha = sigmoid(f);  b = sigmoid(i);  m = 0;  without normalise  h = S^T q
// S and n stand for e^m S and e^m n, so that no gate overflows: every exponent but that of e^-m is at most 0,
// and where e^-m is infinite, h is 0.
// Shapes: x, y [D]; q, k, n [H, K]; v, h, W_o x [H, V]; i, f, m [H]; D = d_model, H = heads, K = head_dim_k,
// V = head_dim_v, c = gate_soft_cap; layer_norm is per head, without bias.
// Cost per token: 2 D H (2 K + 3 V + 2) + 5 H K V + 4 H K flops. State: H K V elements of Stored and H (K +
// 1) of T, whatever the length of the past; no m under a sigmoid gate, no n without normalise. Row-stable.
// Source: Beck, Poeppel, Spanring, et al., "xLSTM: Extended Long Short-Term Memory", 2024, section 2.3 and
// appendix A; the layer of Beck, Poeppel, Lippe, et al., "xLSTM 7B: A Recurrent LLM for Fast and Efficient
// Inference", 2025; tensor names as mLSTMLayer of NX-AI/xlstm (xLSTMLayer of transformers), without the
// prefix mlstm_layer. Sigmoid gate: Beck, Poeppel, Lippe, Hochreiter, "Tiled Flash Linear Attention: More
// Efficient Linear RNN and xLSTM Kernels", 2025, whose kernels normalise unless told otherwise.
// Deviations: weights under their own names only (weight_mode "single"), no biases but those of the gates.
// Seeded gates depend on x from the start and the input gate starts around e^0 (or 1/2), as in the paper;
// public code starts W_i and W_f at 0, and the 7B model b_i at -10. Some public code scales k where this
// scales q: the same outputs, but S and n are sqrt(K) times as large here.
template <class T, class Backend = default_backend<recurrence<rules::mlstm>>, StoresElementsOf<T> Stored = T>
class mlstm : public detail::matrix_mixer<mlstm<T, Backend, Stored>, T, Backend, rules::mlstm, mlstm_config,
                                          mlstm_params, Stored> {
  using base = detail::matrix_mixer<mlstm, T, Backend, rules::mlstm, mlstm_config, mlstm_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<Stored> S;  // [H, K, V]
    buffer<T> n;       // [H, K], or empty
    buffer<T> m;       // [H] logarithm of the scale of S and n, or empty: 0
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("state", s.S...);
      f("normaliser", s.n...);
      f("stabiliser", s.m...);
    }
  };

  // Read only: the norm reads a table derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  static status check(const config& c) {
    if (const status heads = detail::check_heads("mlstm", c, true); !heads) return heads;
    if (!(c.gate_soft_cap >= 0) || !(c.normaliser_epsilon >= 0) || !(c.epsilon >= 0))
      return message("mlstm: gate_soft_cap is ", c.gate_soft_cap, ", normaliser_epsilon is ",
                     c.normaliser_epsilon, ", epsilon is ", c.epsilon, ", expected none below 0");
    if (!c.normalise && c.input_gate == mlstm_gate::exponential)
      return message("mlstm: normalise is false, expected it with a sigmoid input_gate only");
    return {};
  }
  static config resolved(config c) {
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / (2 * c.heads);
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, H = c.heads, HK = H * c.head_dim_k, HV = H * c.head_dim_v;
    tensor_plan<params> t;
    t.add(&params::q, {HK, D}, c.storage);
    t.add(&params::k, {HK, D}, c.storage);
    t.add(&params::v, {HV, D}, c.storage);
    t.add(&params::ogate_preact, {HV, D}, c.storage);
    t.add(&params::igate_preact, {H, D}, c.storage);
    t.add(&params::igate_preact_bias, {H}, starts::normal(0.1));
    t.add(&params::fgate_preact, {H, D}, c.storage);
    // Evenly from 3 to 6: the heads forget at different paces.
    t.add(&params::fgate_preact_bias, {H}, [last = static_cast<double>(H - 1)](random_stream&, index_t h) {
      return h > 0 ? 3 + 3 * static_cast<double>(h) / last : 3;
    });
    t.add(&params::multihead_norm, {HV}, starts::constant(1));
    t.add(&params::out_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const {
    const index_t H = config_.heads;
    return {base::empty_matrix(shape(config_), where),
            buffer<T>(config_.normalise ? H * config_.head_dim_k : 0, T(0), where),
            buffer<T>(stabilised() ? H : 0, T(0), where)};
  }

  static std::vector<config> samples() {
    return {{.d_model = 12, .heads = 3},
            {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .gate_soft_cap = 0},
            {.d_model = 13, .heads = 1, .head_dim_k = 1, .head_dim_v = 3, .gate_soft_cap = 0.5},
            {.d_model = 9, .heads = 3, .head_dim_k = 5, .input_gate = mlstm_gate::sigmoid},
            {.d_model = 6,
             .heads = 1,
             .head_dim_v = 17,
             .input_gate = mlstm_gate::sigmoid,
             .normalise = false,
             .gate_soft_cap = 0},
            {.d_model = 64, .heads = 2, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;
  struct rows : recurrence_rows<T> {
    mat_view<T> divisors;  // [outputs, H], or none
  };

  bool stabilised() const { return config_.input_gate == mlstm_gate::exponential; }
  rows operands(context& ctx, context::frame& scratch, lanes all, mat_view<const T> X) const noexcept {
    const auto q = project(ctx, scratch, params_.q, needed(scratch, all, X)),
               k = project(ctx, scratch, params_.k, X), v = project(ctx, scratch, params_.v, X),
               write = gate(ctx, scratch, params_.igate_preact, params_.igate_preact_bias, X),
               alpha = gate(ctx, scratch, params_.fgate_preact, params_.fgate_preact_bias, X),
               divisors = scratch.template mat<T>(config_.normalise ? q.rows() : 0, config_.heads),
               scales = scratch.template mat<T>(divisors.rows(), config_.heads);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    if (!stabilised())
      for (const auto opened : {write, alpha})
        map_rows<arch>(opened, []<class P>(P x) { return sigmoid(x); });
    for_lanes(all, [&](const auto& l, index_t row, index_t out) {
      for (index_t t = 0; t < l.rows; ++t) {
        if (stabilised()) stabilise(l.state->m.data(), write[row + t], alpha[row + t]);
        scale_heads(write[row + t], k[row + t]);
        if (const index_t i = t - (l.rows - l.outs); i >= 0 && stabilised())
          std::copy_n(l.state->m.data(), config_.heads, scales[out + i].data());
      }
      if (config_.normalise)
        detail::run_normaliser<arch, T>(l.state->n.data(), q.range(out, out + l.outs),
                                        k.range(row, row + l.rows), alpha.range(row, row + l.rows),
                                        divisors.range(out, out + l.outs));
    });
    for (index_t r = 0; r < divisors.rows(); ++r)
      bound(stabilised() ? scales[r] : row_view<const T>(), divisors[r]);
    return {{.q = q, .k = k, .v = v, .alpha = alpha}, divisors};
  }
  rows asked(context& ctx, context::frame& scratch, const state& s, mat_view<const T> x) const noexcept {
    const auto q = project(ctx, scratch, params_.q, x), divisors = scratch.template mat<T>(1, config_.heads);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    if (!config_.normalise) return {{.q = q}, {}};
    detail::read_normaliser<arch, T>(s.n.data(), q, divisors);
    bound(s.m.view(), divisors[0]);
    return {{.q = q}, divisors};
  }
  // W x + b, capped.
  mat_view<T> gate(context& ctx, context::frame& scratch, const weight& W, const weight& b,
                   mat_view<const T> X) const noexcept {
    const auto a = project(ctx, scratch, W, X);
    add_bias<arch>(ctx, b, a);
    if (config_.gate_soft_cap > 0)
      map_rows<arch>(a, [cap = static_cast<T>(config_.gate_soft_cap)]<class P>(P x) {
        return P(cap) * tanh(x / P(cap));
      });
    return a;
  }
  // One token: from the capped gates what multiplies k and the past, in their place.
  static void stabilise(T* m, row_view<T> input, row_view<T> forget) noexcept {
    for_packs<T, arch>(input.size(), [&, i = input.data(), f = forget.data()]<class P>(index_t h) {
      const P kept = simd::load<P>(m + h) - softplus(P(0) - simd::load<P>(f + h)),
              written = simd::load<P>(i + h), next = simd::max(kept, written);
      simd::store(m + h, next);
      simd::store(i + h, exp(written - next));
      simd::store(f + h, exp(kept - next));
    });
  }
  // d <- max(|d|, e^-m) + epsilon; an empty m is 0.
  void bound(row_view<const T> m, row_view<T> d) const noexcept {
    const auto epsilon = static_cast<T>(config_.normaliser_epsilon);
    for_packs<T, arch>(d.size(), [&]<class P>(index_t h) {
      const P least = m.size() > 0 ? exp(P(0) - simd::load<P>(m.data() + h)) : P(1);
      simd::store(d.data() + h, simd::max(simd::abs(simd::load<P>(d.data() + h)), least) + P(epsilon));
    });
  }
  void scale_heads(row_view<const T> factors, row_view<T> k) const noexcept {
    const index_t K = config_.head_dim_k;
    for (index_t h = 0; h < factors.size(); ++h)
      map_row<arch>(K, k.data() + h * K, k.data() + h * K,
                    [factor = factors[h]]<class P>(P a) { return P(factor) * a; });
  }
  void output(context& ctx, context::frame& scratch, lanes all, const rows& in, mat_view<const T> X,
              mat_view<T> h, mat_view<T> Y) const noexcept {
    if (config_.normalise) detail::divide_heads<arch, T>(in.divisors, h);
    detail::group_norm<arch>(config_.heads, config_.epsilon, norm_, {}, h);
    const auto open = project(ctx, scratch, params_.ogate_preact, needed(scratch, all, X));
    detail::sigmoid_gate<arch, T>(open, h, h);
    kernel<matmul, Backend>::template run<T>(ctx, params_.out_proj, h, Y);
  }

  weight norm_ = decoded<T>(params_.multihead_norm);
};

}  // namespace mneme::inline MNEME_ABI
