// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "detail/product_key_lookup.hpp"

namespace mneme::inline MNEME_ABI {

struct memory_plus_config {
  index_t d_model = 1;
  index_t d_value = 0;  // width of values; 0: d_model
  index_t heads = 1;
  index_t sub_keys = 128;  // n: per half; n^2 values
  index_t top_k = 8;       // values read per head
  index_t d_key = 0;  // width of a query half and of a sub-key; 0: d_model / (2 heads) rounded up, at least 2
  bool query_bias = false;
  product_key_norm norm = product_key_norm::none;
  double epsilon = 1e-5;       // of the layer norm
  bool mem_gated = false;      // one more gate, a number per token, on the whole output
  dtype storage = dtype::f32;  // of the seeded values; loaded values keep their own

  index_t value_width() const { return d_value > 0 ? d_value : d_model; }
  index_t key_width() const { return d_key > 0 ? d_key : detail::product_key_width(d_model, heads); }
};
struct memory_plus_params {
  weight query_proj, query_proj_bias;  // [2 H dk, d_model], rows (head, half, dk); [2 H dk] or empty
  weight norm, norm_bias;              // [dk], shared by heads and halves; or empty
  weight keys;                         // [2 H, n, dk], heads outermost, then halves
  weight values;                       // [n^2, dv], any storage type, shared by heads and by layers
  weight swilu_projection, swilu_projection_bias;  // [dv, d_model], [dv]
  weight value_proj, value_proj_bias;              // [d_model, dv], [d_model]
  weight gating, gating_bias;                      // [1, d_model], [1]; or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("query_proj.weight", p.query_proj...);
    f("query_proj.bias", p.query_proj_bias...);
    f("norm.weight", p.norm...);
    f("norm.bias", p.norm_bias...);
    f("keys", p.keys...);
    f("values.weight", p.values...);
    f("swilu_projection.weight", p.swilu_projection...);
    f("swilu_projection.bias", p.swilu_projection_bias...);
    f("value_proj.weight", p.value_proj...);
    f("value_proj.bias", p.value_proj_bias...);
    f("gating.weight", p.gating...);
    f("gating.bias", p.gating_bias...);
  }
};

// Memory+: a product-key memory whose values many layers share, under a gate that the input opens.
//   q = norm(W_q x + b);  v = sum over heads of the softmax-weighted top_k values under q, as in product_key
//   y = W_o (v silu(W_g x + b_g)) + b_o;  with mem_gated  y <- sigmoid(w x + b) y
//   x, y [d_model]    v, W_g x [d_value]
// Cost per token: 4 H dk d_model + 4 H n dk + 2 H top_k d_value + 4 d_model d_value flops; reads the sub-keys
// and H top_k values. State: none. Row-stable. A row of NaN gives a row of NaN.
// Layers that share values: give the `values` of one to the params of the others; copies of a weight share
// their bytes. Queries, keys and projections are a layer's own.
// Source: Berges, Oguz, Haziza, Yih, Zettlemoyer, Ghosh, "Memory Layers at Scale", 2024, section 3. Starts:
// keys uniform in +-1/sqrt(2 dk), values and projections normal with deviation 1/sqrt(width of their output),
// queries uniform in +-sqrt(6 / (rows + columns)), biases 0.
// Deviations: where the paper normalises queries and keys, this does queries (norm = layer, off by default as
// in the published code); keys are constants, so store them normalised.
template <class T, class Backend = default_backend<product_key_read>>
class memory_plus
    : public detail::lookup<memory_plus<T, Backend>, T, memory_plus_config, memory_plus_params> {
  using base = detail::lookup<memory_plus, T, memory_plus_config, memory_plus_params>;
  using base::config_, base::params_;

 public:
  using base::base;
  using typename base::config, typename base::params;

  static status check(const config& c) { return detail::check_value_lookup("memory_plus", c); }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, N = c.sub_keys * c.sub_keys, dv = c.value_width(), dk = c.key_width();
    const auto scaled = [](index_t outputs) {
      return starts::normal(1 / std::sqrt(static_cast<double>(outputs)));
    };
    const double bound = std::sqrt(6 / static_cast<double>(2 * c.heads * dk + D));
    tensor_plan<params> t;
    detail::add_lookup_tensors(
        t, c, [bound](random_stream& draw, index_t) { return draw.uniform(-bound, bound); },
        starts::uniform(2 * dk));
    t.add(&params::values, {N, dv}, scaled(dv), c.storage);
    t.add(&params::swilu_projection, {dv, D}, scaled(dv));
    t.add(&params::swilu_projection_bias, {dv}, starts::constant(0));
    t.add(&params::value_proj, {D, dv}, scaled(D));
    t.add(&params::value_proj_bias, {D}, starts::constant(0));
    if (c.mem_gated) {
      t.add(&params::gating, {1, D}, scaled(1));
      t.add(&params::gating_bias, {1}, starts::constant(0));
    }
    return t;
  }

  index_t d_out() const { return config_.d_model; }
  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    using arch = typename arch_of<Backend>::type;
    context::frame scratch(ctx);
    const auto Q = detail::lookup_queries<Backend, T>(ctx, scratch, params_, config_.epsilon, X);
    const auto v = scratch.template mat<T>(X.rows(), config_.value_width());
    kernel<product_key_read, Backend>::template run<T>(ctx, params_.keys, params_.values, config_.top_k,
                                                       product_key_gate::softmax, Q, v);
    const auto gate = affine(ctx, scratch, params_.swilu_projection, params_.swilu_projection_bias, X);
    kernel<silu_gate, Backend>::template run<T>(gate, v, v);
    kernel<matmul, Backend>::template run<T>(ctx, params_.value_proj, v, Y);
    add_bias<arch>(ctx, params_.value_proj_bias, Y);
    if (!config_.mem_gated) return;
    const auto open = affine(ctx, scratch, params_.gating, params_.gating_bias, X);
    for (index_t r = 0; r < Y.rows(); ++r) {
      T* const y = Y[r].data();
      map_row<arch>(Y.cols(), y, y, [share = sigmoid(open[r][0])]<class P>(P a) { return a * P(share); });
    }
  }

  static std::vector<config> samples() {
    return {{.d_model = 7, .sub_keys = 5, .top_k = 3},
            {.d_model = 13, .d_value = 33, .heads = 3, .sub_keys = 7, .top_k = 4, .mem_gated = true},
            {.d_model = 16,
             .d_value = 64,
             .heads = 2,
             .sub_keys = 9,
             .top_k = 5,
             .d_key = 3,
             .query_bias = true,
             .norm = product_key_norm::layer,
             .storage = dtype::q8_0}};
  }

 private:
  static mat_view<T> affine(context& ctx, context::frame& scratch, const weight& W, const weight& b,
                            mat_view<const T> X) noexcept {
    const auto Y = detail::project<Backend, T>(ctx, scratch, W, X);
    add_bias<typename arch_of<Backend>::type>(ctx, b, Y);
    return Y;
  }
};

}  // namespace mneme::inline MNEME_ABI
