// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "detail/matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct hgrn2_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;        // the expansion of the state; 0: d_model / heads
  index_t head_dim_v = 0;        // 0: d_model / heads
  bool use_lower_bound = false;  // a least decay for every channel: see hgrn2_lower_bound
  double epsilon = 1e-5;         // of the output norm
  dtype storage = dtype::f32;    // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct hgrn2_params {
  weight q_proj, f_proj;  // [heads head_dim_k, d_model]
  weight i_proj;          // [heads head_dim_v, d_model]
  weight lower_bound;     // [heads head_dim_k], in [0, 1), or empty
  weight g_norm;          // [heads head_dim_v]
  weight o_proj;          // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("f_proj.weight", p.f_proj...);
    f("i_proj.weight", p.i_proj...);
    f("lower_bound", p.lower_bound...);
    f("g_norm.weight", p.g_norm...);
    f("o_proj.weight", p.o_proj...);
  }
};

// HGRN2: gated linear attention whose keys are what the decay leaves of 1.
//   q = silu(W_q x) / sqrt(K);  v = W_i x;  alpha = lambda + (1 - lambda) sigmoid(W_f x);  k = 1 - alpha
//   per head S <- diag(alpha) S + k v^T;  o = S^T q;  y = W_o rms_norm(o)
// Every row of S is an exponential average of the values. lambda is lower_bound, or 0.
// Shapes: x, y [D]; q, k, alpha, lambda [H, K]; v, o [H, V]; D = d_model, H = heads, K = head_dim_k, V =
// head_dim_v; rms_norm is over all heads together.
// Cost per token: 4 D H (K + V) + 5 H K V flops. State: H K V elements of Stored, whatever the length of the
// past. Row-stable.
// Source: Qin, Yang, Sun, Shen, Li, Sun, Zhong, "HGRN2: Gated Linear RNNs with State Expansion", 2024,
// section 3; layer and tensor names as HGRN2Attention of flash-linear-attention, lower_bound excepted: there
// a model holds one table for all its layers.
template <class T, class Backend = default_backend<recurrence<rules::hgrn2>>, StoresElementsOf<T> Stored = T>
class hgrn2 : public detail::matrix_mixer<hgrn2<T, Backend, Stored>, T, Backend, rules::hgrn2, hgrn2_config,
                                          hgrn2_params, Stored> {
  using base = detail::matrix_mixer<hgrn2, T, Backend, rules::hgrn2, hgrn2_config, hgrn2_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using typename base::config, typename base::params;
  using state = detail::matrix_state<Stored>;
  using base::base;

  static status check(const config& c) {
    if (const status heads = detail::check_heads("hgrn2", c); !heads) return heads;
    if (!(c.epsilon >= 0)) return message("hgrn2: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }
  static config resolved(config c) {
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static detail::matrix_shape shape(const config& c) {
    return {c.heads, c.heads, c.head_dim_k, c.head_dim_v};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, HK = c.heads * c.head_dim_k, HV = c.heads * c.head_dim_v;
    tensor_plan<params> t;
    t.add(&params::q_proj, {HK, D}, c.storage);
    t.add(&params::f_proj, {HK, D}, c.storage);
    t.add(&params::i_proj, {HV, D}, c.storage);
    // The published table starts at zeros: layer l of L has the bound l / L. Here a layer in the middle.
    if (c.use_lower_bound) t.add(&params::lower_bound, {HK}, starts::constant(0.5));
    t.add(&params::g_norm, {HV}, starts::constant(1));
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const { return {base::empty_matrix(shape(config_), where)}; }

  static std::vector<config> samples() {
    return {{.d_model = 12, .heads = 3},
            {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .use_lower_bound = true},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1},
            {.d_model = 64, .heads = 2, .use_lower_bound = true, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;

  recurrence_rows<T> operands(context& ctx, context::frame& scratch, lanes all,
                              mat_view<const T> X) const noexcept {
    const auto q = queries(ctx, scratch, needed(scratch, all, X)),
               alpha = project(ctx, scratch, params_.f_proj, X), v = project(ctx, scratch, params_.i_proj, X),
               k = scratch.template mat<T>(alpha.rows(), alpha.cols());
    const auto bound = scratch.template row<T>(alpha.cols());
    if (config_.use_lower_bound)
      decode_row<arch>(params_.lower_bound.type(), params_.lower_bound.data(), bound.size(), bound.data());
    else
      std::fill(bound.begin(), bound.end(), T(0));
    for (index_t r = 0; r < alpha.rows(); ++r) {
      T *const decay = alpha[r].data(), *const key = k[r].data();
      for_packs<T, arch>(bound.size(), [&]<class P>(index_t i) {
        const P f = simd::load<P>(decay + i), low = simd::load<P>(bound.data() + i), open = P(1) - low;
        simd::store(key + i, open * sigmoid(P(0) - f));  // 1 - alpha would lose the digits of a small key
        simd::store(decay + i, simd::fma(open, sigmoid(f), low));
      });
    }
    return {.q = q, .k = k, .v = v, .alpha = alpha};
  }
  mat_view<T> queries(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto q = project(ctx, scratch, params_.q_proj, X);
    map_rows<arch>(q, [scale = T(1) / std::sqrt(static_cast<T>(config_.head_dim_k))]<class P>(P a) {
      return silu(a) * P(scale);
    });
    return q;
  }
  recurrence_rows<T> asked(context& ctx, context::frame& scratch, const state&,
                           mat_view<const T> x) const noexcept {
    return {.q = queries(ctx, scratch, x)};
  }
  void output(context& ctx, context::frame& scratch, lanes, const recurrence_rows<T>&, mat_view<const T>,
              mat_view<T> o, mat_view<T> Y) const noexcept {
    const auto normed = scratch.template mat<T>(o.rows(), o.cols());
    kernel<rms_normalise, Backend>::template run<T>(params_.g_norm, config_.epsilon, o, normed);
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, normed, Y);
  }
};

// The lower bound of one layer from the table [layers, channels] of a published model, which is called
// lower_bounds there: what the softmax over the layers gives layers 1 to `layer` together (0 for layer 0).
// Fails if the table has no such layer.
inline weight hgrn2_lower_bound(const weight& table, index_t layer) {
  if (layer < 0 || layer >= table.rows())
    fail(message("hgrn2_lower_bound: layer is ", layer, ", expected one of ", table.rows()));
  const weight logits = decoded<double>(table);
  const double* const x = data<double>(logits);
  const index_t L = table.rows(), C = table.cols();
  weight bound = weight::zeros<float>(C);
  for (index_t c = 0; c < C; ++c) {
    double most = x[c], all = 0, below = 0;
    for (index_t l = 1; l < L; ++l) most = std::max(most, x[l * C + c]);
    for (index_t l = 0; l < L; ++l) {
      const double e = std::exp(x[l * C + c] - most);
      all += e;
      if (l > 0 && l <= layer) below += e;
    }
    edit<float>(bound)[c] = static_cast<float>(below / all);
  }
  return bound;
}

}  // namespace mneme::inline MNEME_ABI
