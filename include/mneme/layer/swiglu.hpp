// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gate.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../core/row_wise.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct swiglu_config {
  index_t d_model = 1, d_hidden = 1;
  dtype storage = dtype::f32;  // of the seeded weights; loaded weights keep their own
};
struct swiglu_params {
  mneme::weight gate_proj, up_proj;  // [d_hidden, d_model]
  mneme::weight down_proj;           // [d_model, d_hidden]
  static constexpr void fields(auto&& f, auto&... p) {
    f("gate_proj.weight", p.gate_proj...);
    f("up_proj.weight", p.up_proj...);
    f("down_proj.weight", p.down_proj...);
  }
};

// Gated feed-forward layer.
//   y = W_down (silu(W_gate x) * W_up x)            x, y [d_model]
// Cost: 6 d_model d_hidden flops per token. State: none. Row-stable.
// Source: Shazeer, "GLU Variants Improve Transformer", 2020, equation 6.
template <class T, class Backend = default_backend<matmul>>
class swiglu : public row_wise<swiglu<T, Backend>, T> {
 public:
  using config = swiglu_config;
  using params = swiglu_params;
  static constexpr bool row_stable = true;

  explicit swiglu(config c, std::uint64_t seed = 0)
      : swiglu(c, tensors(checked_config<swiglu>(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  swiglu(config c, params p)
      : config_(checked_config<swiglu>(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    if (c.d_model < 1 || c.d_hidden < 1)
      return message("swiglu: d_model is ", c.d_model, " and d_hidden is ", c.d_hidden,
                     ", expected at least 1");
    if (c.d_model % info(c.storage).block != 0 || c.d_hidden % info(c.storage).block != 0)
      return message("swiglu: d_model is ", c.d_model, " and d_hidden is ", c.d_hidden,
                     ", expected multiples of ", info(c.storage).block, " (", info(c.storage).name, ")");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::gate_proj, {c.d_hidden, c.d_model}, c.storage);
    t.add(&params::up_proj, {c.d_hidden, c.d_model}, c.storage);
    t.add(&params::down_proj, {c.d_model, c.d_hidden}, c.storage);
    return t;
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto gate = scratch.mat<T>(X.rows(), config_.d_hidden),
               up = scratch.mat<T>(X.rows(), config_.d_hidden);
    kernel<matmul, Backend>::template run<T>(ctx, params_.gate_proj, X, gate);
    kernel<matmul, Backend>::template run<T>(ctx, params_.up_proj, X, up);
    kernel<silu_gate, Backend>::template run<T>(gate, up, up);
    kernel<matmul, Backend>::template run<T>(ctx, params_.down_proj, up, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5, .d_hidden = 7},
            {.d_model = 32, .d_hidden = 65},
            {.d_model = 32, .d_hidden = 64, .storage = dtype::q8_0}};
  }

 private:
  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
