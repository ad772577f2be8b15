// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../core/row_wise.hpp"
#include "../math/bias.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct linear_config {
  index_t d_in = 1, d_out = 1;
  bool bias = false;
  dtype storage = dtype::f32;  // of the seeded weight; a loaded weight keeps its own
};
struct linear_params {
  mneme::weight weight;  // [d_out, d_in], any storage type
  mneme::weight bias;    // [d_out], or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("weight", p.weight...);
    f("bias", p.bias...);
  }
};

// Linear layer.
//   y = W x + b                       x [d_in] -> y [d_out]
// Cost: 2 d_in d_out flops per token; W is read once per call. State: none. Row-stable.
template <class T, class Backend = default_backend<matmul>>
class linear : public row_wise<linear<T, Backend>, T> {
 public:
  using config = linear_config;
  using params = linear_params;
  static constexpr bool row_stable = true;

  explicit linear(config c, std::uint64_t seed = 0)
      : linear(c, tensors(checked_config<linear>(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  linear(config c, params p)
      : config_(checked_config<linear>(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    if (c.d_in < 1 || c.d_out < 1)
      return message("linear: d_in is ", c.d_in, " and d_out is ", c.d_out, ", expected at least 1");
    if (c.d_in % info(c.storage).block != 0)
      return message("linear: d_in is ", c.d_in, ", expected a multiple of ", info(c.storage).block, " (",
                     info(c.storage).name, ")");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::weight, {c.d_out, c.d_in}, c.storage);
    if (c.bias) t.add(&params::bias, {c.d_out}, starts::uniform(c.d_in));
    return t;
  }

  index_t d_in() const { return config_.d_in; }
  index_t d_out() const { return config_.d_out; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    kernel<matmul, Backend>::template run<T>(ctx, params_.weight, X, Y);
    if (config_.bias) add_bias<typename arch_of<Backend>::type>(ctx, params_.bias, Y);
  }

  static std::vector<config> samples() {
    return {{.d_in = 5, .d_out = 3, .bias = true},
            {.d_in = 33, .d_out = 17},
            {.d_in = 64, .d_out = 13, .storage = dtype::q8_0},
            {.d_in = 96, .d_out = 9, .bias = true, .storage = dtype::q4_1},
            {.d_in = 35, .d_out = 70, .storage = dtype::bf16}};
  }

 private:
  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
