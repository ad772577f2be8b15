// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/rms_norm.hpp"
#include "../core/row_wise.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct rms_norm_config {
  index_t d_model = 1;
  double epsilon = 1e-5;
};
struct rms_norm_params {
  mneme::weight weight;  // [d_model]
  static constexpr void fields(auto&& f, auto&... p) { f("weight", p.weight...); }
};

// Root-mean-square normalisation.
//   y = x / sqrt(mean(x^2) + epsilon) * w           x, y [d_model]
// Cost: 4 d_model flops per token. State: none. Row-stable.
// Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4 (epsilon as in public
// code).
template <class T, class Backend = default_backend<rms_normalise>>
class rms_norm : public row_wise<rms_norm<T, Backend>, T> {
 public:
  using config = rms_norm_config;
  using params = rms_norm_params;
  static constexpr bool row_stable = true;

  explicit rms_norm(config c, std::uint64_t seed = 0)
      : rms_norm(c, tensors(checked_config<rms_norm>(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  rms_norm(config c, params p)
      : config_(checked_config<rms_norm>(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    if (c.d_model < 1) return message("rms_norm: d_model is ", c.d_model, ", expected at least 1");
    if (!(c.epsilon >= 0)) return message("rms_norm: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::weight, {c.d_model}, [](random_stream& draw, index_t) { return draw.uniform(0.5, 1.5); });
    return t;
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context&, mat_view<const T> X, mat_view<T> Y) const noexcept {
    kernel<rms_normalise, Backend>::template run<T>(params_.weight, config_.epsilon, X, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 1}, {.d_model = 33}, {.d_model = 64, .epsilon = 1e-6}};
  }

 private:
  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
