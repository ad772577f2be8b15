// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../math/feature_map.hpp"
#include "detail/matrix_mixer.hpp"
#include "detail/normaliser.hpp"

namespace mneme::inline MNEME_ABI {

struct linear_attention_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;  // 0: d_model / heads
  index_t head_dim_v = 0;  // 0: d_model / heads
  feature_map features = feature_map::elu1;
  bool normalise = true;       // divide by the sum of the weights; asks for features that are not negative
  double epsilon = 1e-10;      // added to that sum
  dtype storage = dtype::f32;  // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct linear_attention_params {
  weight q_proj, k_proj;  // [heads head_dim_k, d_model]
  weight v_proj;          // [heads head_dim_v, d_model]
  weight o_proj;          // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Linear attention.
//   q, k, v = phi(W_q x) / sqrt(K), phi(W_k x), W_v x
//   per head S <- S + k v^T;  z <- z + k;  o = S^T q, and with `normalise` o / (z.q + epsilon)
//   y = W_o [o_0 .. o_H-1]
// Shapes: x, y [D]; q, k [H, K]; v, o [H, V]; D = d_model, H = heads, K = head_dim_k, V = head_dim_v.
// Cost per token: 4 D H (K + V) + 4 H K V flops. State: H K V elements of Stored, and H K of T with
// `normalise`, whatever the length of the past. Row-stable.
// Source: Katharopoulos, Vyas, Pappas, Fleuret, "Transformers are RNNs: Fast Autoregressive Transformers with
// Linear Attention", 2020, equations 16 to 20.
// Deviations: q is scaled by 1 / sqrt(K), which matters to the unnormalised form only; W_o as in public code;
// no residual and feed-forward part, which are layers of their own. z is kept beside S, not as a column of
// ones on v, so that S keeps its shape.
template <class T, class Backend = default_backend<recurrence<rules::linear_attention>>,
          StoresElementsOf<T> Stored = T>
class linear_attention
    : public detail::matrix_mixer<linear_attention<T, Backend, Stored>, T, Backend, rules::linear_attention,
                                  linear_attention_config, linear_attention_params, Stored> {
  using base = detail::matrix_mixer<linear_attention, T, Backend, rules::linear_attention,
                                    linear_attention_config, linear_attention_params, Stored>;
  friend base;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<Stored> S;  // [H, K, V]
    buffer<T> z;       // [H, K], or empty without `normalise`
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("state", s.S...);
      f("normaliser", s.z...);
    }
  };

  static status check(const config& c) {
    if (const status heads = detail::check_heads("linear_attention", c); !heads) return heads;
    if (!(c.epsilon >= 0))
      return message("linear_attention: epsilon is ", c.epsilon, ", expected at least 0");
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
    t.add(&params::k_proj, {HK, D}, c.storage);
    t.add(&params::v_proj, {HV, D}, c.storage);
    t.add(&params::o_proj, {D, HV}, c.storage);
    return t;
  }
  state init(place where = {}) const {
    return {base::empty_matrix(shape(config_), where),
            buffer<T>(config_.normalise ? config_.heads * config_.head_dim_k : 0, T(0), where)};
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3},
            {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .normalise = false},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .features = feature_map::sigmoid},
            {.d_model = 64, .heads = 2, .normalise = false, .storage = dtype::q8_0}};
  }

 private:
  using lanes = std::span<const lane<state>>;
  struct rows : recurrence_rows<T> {
    mat_view<T> weight_sums;  // [outputs, H], with `normalise`
  };

  rows operands(context& ctx, context::frame& scratch, lanes all, mat_view<const T> X) const noexcept {
    const auto q = queries(ctx, scratch, needed(scratch, all, X)),
               k = project(ctx, scratch, params_.k_proj, X), v = project(ctx, scratch, params_.v_proj, X);
    for (index_t r = 0; r < k.rows(); ++r) apply<arch>(config_.features, k[r]);
    rows in{{.q = q, .k = k, .v = v},
            scratch.template mat<T>(q.rows(), config_.normalise ? config_.heads : 0)};
    if (config_.normalise)
      for_lanes(all, [&](const auto& l, index_t row, index_t out) {
        detail::run_normaliser<arch, T>(l.state->z.data(), q.range(out, out + l.outs),
                                        k.range(row, row + l.rows), {},
                                        in.weight_sums.range(out, out + l.outs));
      });
    return in;
  }
  mat_view<T> queries(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto q = project(ctx, scratch, params_.q_proj, X);
    for (index_t r = 0; r < q.rows(); ++r) apply<arch>(config_.features, q[r]);
    detail::scale_queries<arch>(q, config_.head_dim_k);
    return q;
  }
  rows asked(context& ctx, context::frame& scratch, const state& s, mat_view<const T> x) const noexcept {
    const rows in{{.q = queries(ctx, scratch, x)},
                  scratch.template mat<T>(1, config_.normalise ? config_.heads : 0)};
    if (config_.normalise) detail::read_normaliser<arch, T>(s.z.data(), in.q, in.weight_sums);
    return in;
  }
  void output(context& ctx, context::frame&, lanes, const rows& in, mat_view<const T>, mat_view<T> o,
              mat_view<T> Y) const noexcept {
    if (config_.normalise) {
      map_rows<arch>(in.weight_sums,
                     [epsilon = static_cast<T>(config_.epsilon)]<class P>(P a) { return a + P(epsilon); });
      detail::divide_heads<arch, T>(in.weight_sums, o);
    }
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, o, Y);
  }
};

}  // namespace mneme::inline MNEME_ABI
