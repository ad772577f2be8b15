// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "detail/product_key_lookup.hpp"

namespace mneme::inline MNEME_ABI {

struct product_key_config {
  index_t d_model = 1;
  index_t d_value = 0;  // width of values and output; 0: d_model
  index_t heads = 1;
  index_t sub_keys = 128;  // n: per half; n^2 values
  index_t top_k = 8;       // values read per head
  index_t d_key = 0;  // width of a query half and of a sub-key; 0: d_model / (2 heads) rounded up, at least 2
  bool query_bias = false;
  product_key_norm norm = product_key_norm::layer;
  double epsilon = 1e-5;  // of the layer norm
  product_key_gate gate = product_key_gate::softmax;
  dtype storage = dtype::f32;  // of the seeded values; loaded values keep their own

  index_t value_width() const { return d_value > 0 ? d_value : d_model; }
  index_t key_width() const { return d_key > 0 ? d_key : detail::product_key_width(d_model, heads); }
};
struct product_key_params {
  weight query_proj, query_proj_bias;  // [2 H dk, d_model], rows (head, half, dk); [2 H dk] or empty
  weight norm, norm_bias;              // [dk], shared by heads and halves; or empty
  weight keys;                         // [2 H, n, dk], heads outermost, then halves
  weight values;                       // [n^2, dv], any storage type, shared by heads
  static constexpr void fields(auto&& f, auto&... p) {
    f("query_proj.weight", p.query_proj...);
    f("query_proj.bias", p.query_proj_bias...);
    f("norm.weight", p.norm...);
    f("norm.bias", p.norm_bias...);
    f("keys", p.keys...);
    f("values.weight", p.values...);
  }
};

// Product-key memory: a learned table of n^2 values; a token reads the few that its query selects.
//   q = norm(W_q x + b);  per head: s1 = K1 q1, s2 = K2 q2
//   the top_k largest s1[i] + s2[j] select the values i n + j;  w = gate(those sums)
//   y = sum over heads and selected values of w V[i n + j]
//   x [d_model] -> y [d_value]
// Cost per token: 4 H dk d_model + 4 H n dk + 2 H top_k d_value flops; reads the sub-keys and H top_k values.
// State: none. Row-stable. No sum that is NaN is selected: a row of NaN gives a row of zeros.
// Source: Lample, Sablayrolles, Ranzato, Denoyer, Jegou, "Large Memory Layers with Product Keys", 2019,
//   section 3, equations 1 to 3.
// Deviations: a layer norm of each query half, as in the Python package product-key-memory, where the paper
//   has a batch norm over all query channels (a scale and a shift at inference: fold it into query_proj, set
//   query_bias, and take norm none). Sub-keys start uniform in +-1/sqrt(dk), values normal with deviation
//   1/sqrt(dv).
// Checkpoints: XLM and facebookresearch/memory have this order already (keys [H, 2, n, dk]: the first two
//   dimensions are one here). The Python package orders query rows (half, head, dk) and keys [H, n, 2, dk]:
//   permute both; its to_queries.weight, norm.*, values.weight are query_proj.weight, norm.*, values.weight
//   here.
template <class T, class Backend = default_backend<product_key_read>>
class product_key
    : public detail::lookup<product_key<T, Backend>, T, product_key_config, product_key_params> {
  using base = detail::lookup<product_key, T, product_key_config, product_key_params>;
  using base::config_, base::params_;

 public:
  using base::base;
  using typename base::config, typename base::params;

  static status check(const config& c) { return detail::check_value_lookup("product_key", c); }
  static tensor_plan<params> tensors(const config& c) {
    const index_t N = c.sub_keys * c.sub_keys, dv = c.value_width();
    tensor_plan<params> t;
    detail::add_lookup_tensors(t, c);
    t.add(&params::values, {N, dv}, starts::normal(1 / std::sqrt(static_cast<double>(dv))), c.storage);
    return t;
  }

  index_t d_out() const { return config_.value_width(); }
  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto Q = detail::lookup_queries<Backend, T>(ctx, scratch, params_, config_.epsilon, X);
    kernel<product_key_read, Backend>::template run<T>(ctx, params_.keys, params_.values, config_.top_k,
                                                       config_.gate, Q, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 7, .sub_keys = 5, .top_k = 3},
            {.d_model = 12, .heads = 3, .sub_keys = 11, .top_k = 5, .gate = product_key_gate::relu},
            {.d_model = 33,
             .d_value = 37,
             .heads = 2,
             .sub_keys = 13,
             .top_k = 8,
             .d_key = 35,
             .query_bias = true,
             .norm = product_key_norm::none},
            {.d_model = 16, .d_value = 96, .heads = 2, .sub_keys = 17, .top_k = 33, .storage = dtype::q8_0}};
  }
};

}  // namespace mneme::inline MNEME_ABI
