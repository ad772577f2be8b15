// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../core/row_wise.hpp"
#include "../math/encode.hpp"
#include "../math/random.hpp"
#include "../math/vector.hpp"

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

  explicit linear(config c, std::uint64_t seed = 0) : linear(c, initial(c, seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  linear(config c, params p) : config_(c), params_(std::move(p)) {
    check(c).or_fail();
    expect_shape("weight", params_.weight, {c.d_out, c.d_in}).or_fail();
    if (c.bias) expect_shape("bias", params_.bias, {c.d_out}).or_fail();
  }
  static status check(const config& c) {
    if (c.d_in < 1 || c.d_out < 1)
      return message("linear: d_in is ", c.d_in, " and d_out is ", c.d_out, ", expected at least 1");
    return {};
  }

  index_t d_in() const { return config_.d_in; }
  index_t d_out() const { return config_.d_out; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context& ctx, mat_view<const T> X, mat_view<T> Y) const noexcept {
    kernel<matmul, Backend>::template run<T>(ctx, params_.weight, X, Y);
    if (config_.bias) add_bias(ctx, Y);
  }

  static std::vector<config> samples() {
    return {{.d_in = 5, .d_out = 3, .bias = true},
            {.d_in = 33, .d_out = 17},
            {.d_in = 64, .d_out = 13, .storage = dtype::q8_0},
            {.d_in = 96, .d_out = 9, .bias = true, .storage = dtype::q4_1},
            {.d_in = 35, .d_out = 70, .storage = dtype::bf16}};
  }

 private:
  static params initial(const config& c, std::uint64_t seed) {
    check(c).or_fail();
    params p{stored_as(uniform_weight({c.d_out, c.d_in}, c.d_in, random_stream(seed, 0)), c.storage), {}};
    if (c.bias) p.bias = uniform_weight({c.d_out}, c.d_in, random_stream(seed, 1));
    return p;
  }
  void add_bias(context& ctx, mat_view<T> Y) const noexcept {
    using arch = typename arch_of<Backend>::type;
    context::frame scratch(ctx);
    const auto b = scratch.row<T>(d_out());
    decode_row<arch>(params_.bias.type(), params_.bias.data(), d_out(), b.data());
    for (index_t r = 0; r < Y.rows(); ++r) {
      T* y = Y[r].data();
      for_packs<T, arch>(d_out(), [&]<class P>(index_t i) {
        simd::store(y + i, simd::load<P>(y + i) + simd::load<P>(b.data() + i));
      });
    }
  }

  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
