// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/product_key.hpp"
#include "../core/row_wise.hpp"
#include "../math/bias.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

enum class product_key_norm {
  layer,  // of each query half, over its d_key channels
  none
};

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
  index_t key_width() const {
    return d_key > 0 ? d_key : std::max<index_t>(2, (d_model + 2 * heads - 1) / (2 * heads));
  }
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
class product_key : public row_wise<product_key<T, Backend>, T> {
 public:
  using config = product_key_config;
  using params = product_key_params;
  static constexpr bool row_stable = true;

  explicit product_key(config c, std::uint64_t seed = 0)
      : config_(checked(c)), params_(tensors(c).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  product_key(config c, params p) : config_(checked(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    const auto least = [](const char* name, index_t met, index_t expected) {
      return message("product_key: ", name, " is ", met, ", expected at least ", expected);
    };
    if (c.d_model < 1) return least("d_model", c.d_model, 1);
    if (c.d_value < 0) return least("d_value", c.d_value, 0);
    if (c.heads < 1) return least("heads", c.heads, 1);
    if (c.sub_keys < 1) return least("sub_keys", c.sub_keys, 1);
    if (c.d_key < 0) return least("d_key", c.d_key, 0);
    if (!(c.epsilon >= 0)) return message("product_key: epsilon is ", c.epsilon, ", expected at least 0");
    if (c.top_k < 1 || c.top_k > c.sub_keys * c.sub_keys)
      return message("product_key: top_k is ", c.top_k, ", expected 1 to ", c.sub_keys * c.sub_keys,
                     " (sub_keys squared)");
    if (c.value_width() % info(c.storage).block != 0)
      return message("product_key: values of width ", c.value_width(), " cannot be stored as ",
                     info(c.storage).name, ", expected a multiple of ", info(c.storage).block);
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    const index_t H = c.heads, n = c.sub_keys, dk = c.key_width(), dv = c.value_width();
    tensor_plan<params> t;
    t.add(&params::query_proj, {2 * H * dk, c.d_model});
    if (c.query_bias) t.add(&params::query_proj_bias, {2 * H * dk}, starts::uniform(c.d_model));
    if (c.norm == product_key_norm::layer) {
      t.add(&params::norm, {dk}, starts::constant(1));
      t.add(&params::norm_bias, {dk}, starts::constant(0));
    }
    t.add(&params::keys, {2 * H, n, dk});
    t.add(&params::values, {n * n, dv}, starts::normal(1 / std::sqrt(static_cast<double>(dv))), c.storage);
    return t;
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.value_width(); }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const index_t halves = 2 * config_.heads, dk = config_.key_width();
    context::frame scratch(ctx);
    const auto Q = scratch.mat<T>(X.rows(), halves * dk);
    kernel<matmul, Backend>::template run<T>(ctx, params_.query_proj, X, Q);
    if (config_.query_bias) add_bias<typename arch_of<Backend>::type>(ctx, params_.query_proj_bias, Q);
    if (config_.norm == product_key_norm::layer)
      kernel<product_key_normalise, Backend>::template run<T>(ctx, params_.norm, params_.norm_bias,
                                                              config_.epsilon,
                                                              mat_view<T>(Q.data(), X.rows() * halves, dk));
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

 private:
  static config checked(const config& c) {
    check(c).or_fail();
    return c;
  }

  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
