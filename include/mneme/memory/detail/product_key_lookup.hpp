// SPDX-License-Identifier: Apache-2.0
// What memories share that read a table under product keys: checks, tensors, queries, and a base for those
// that keep no state.
#pragma once
#include "../../backend/cpu/product_key.hpp"
#include "../../core/row_wise.hpp"
#include "../../math/bias.hpp"
#include "mixer.hpp"

namespace mneme::inline MNEME_ABI {

enum class product_key_norm {
  layer,  // of each query half, over its d_key channels
  none
};

namespace detail {

// Width of a query half unless the config names one.
inline index_t product_key_width(index_t d_model, index_t heads) {
  return std::max<index_t>(2, (d_model + 2 * heads - 1) / (2 * heads));
}

// What is wrong with the part of a config that every such memory has.
template <class Config>
status check_lookup(const char* name, const Config& c) {
  if (const status sizes = expect_sizes(
          name,
          {{"d_model", c.d_model}, {"heads", c.heads}, {"sub_keys", c.sub_keys}, {"d_key", c.d_key, 0}});
      !sizes)
    return sizes;
  if (!(c.epsilon >= 0)) return message(name, ": epsilon is ", c.epsilon, ", expected at least 0");
  if (c.top_k < 1 || c.top_k > c.sub_keys * c.sub_keys)
    return message(name, ": top_k is ", c.top_k, ", expected 1 to ", c.sub_keys * c.sub_keys,
                   " (sub_keys squared)");
  return {};
}
// The same for a table of values of its own width.
template <class Config>
status check_value_lookup(const char* name, const Config& c) {
  if (const status s = check_lookup(name, c); !s) return s;
  if (c.d_value < 0) return message(name, ": d_value is ", c.d_value, ", expected at least 0");
  if (const index_t block = info(c.storage).block; c.value_width() % block != 0)
    return message(name, ": values of width ", c.value_width(), " cannot be stored as ", info(c.storage).name,
                   ", expected a multiple of ", block);
  return {};
}

// query_proj, query_proj_bias, norm, norm_bias, keys: as far as the config asks for them.
template <class Params, class Config>
void add_lookup_tensors(tensor_plan<Params>& t, const Config& c, start queries, start keys) {
  const index_t halves = 2 * c.heads, dk = c.key_width();
  t.add(&Params::query_proj, {halves * dk, c.d_model}, std::move(queries));
  if (c.query_bias) t.add(&Params::query_proj_bias, {halves * dk}, starts::uniform(c.d_model));
  if (c.norm == product_key_norm::layer) {
    t.add(&Params::norm, {dk}, starts::constant(1));
    t.add(&Params::norm_bias, {dk}, starts::constant(0));
  }
  t.add(&Params::keys, {halves, c.sub_keys, dk}, std::move(keys));
}
template <class Params, class Config>
void add_lookup_tensors(tensor_plan<Params>& t, const Config& c) {
  add_lookup_tensors(t, c, starts::uniform(c.d_model), starts::uniform(c.key_width()));
}

// norm(W_q x + b) of all rows, in scratch.
template <class Backend, class T, class Params>
mat_view<T> lookup_queries(context& ctx, context::frame& scratch, const Params& p, double epsilon,
                           mat_view<const T> X) noexcept {
  const auto Q = project<Backend, T>(ctx, scratch, p.query_proj, X);
  if (p.query_proj_bias) add_bias<typename arch_of<Backend>::type>(ctx, p.query_proj_bias, Q);
  if (p.norm)
    kernel<product_key_normalise, Backend>::template run<T>(
        ctx, p.norm, p.norm_bias, epsilon, mat_view<T>(Q.data(), X.rows() * p.keys.dim(0), p.keys.dim(2)));
  return Q;
}

// A memory M without state writes
//   static status check(const config&);  static tensor_plan<params> tensors(const config&)
//   d_out, map
// and takes over the constructors.
template <class M, class T, class Config, class Params>
class lookup : public row_wise<M, T> {
 public:
  using config = Config;
  using params = Params;
  static constexpr bool row_stable = true;

  explicit lookup(config c, std::uint64_t seed = 0)
      : config_(checked_config<M>(c)), params_(M::tensors(c).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  lookup(config c, params p) : config_(checked_config<M>(c)), params_(M::tensors(c).checked(std::move(p))) {}

  index_t d_in() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

 protected:
  config config_;
  params params_;
};

}  // namespace detail
}  // namespace mneme::inline MNEME_ABI
