// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/causal_conv.hpp"
#include "../core/scan.hpp"
#include "../math/decode.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct short_conv_config {
  index_t channels = 1;
  index_t width = 4;
  bool bias = true;
  bool silu = true;
};
struct short_conv_params {
  mneme::weight weight;  // [channels, 1, width]; the last tap multiplies the current input
  mneme::weight bias;    // [channels], or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("weight", p.weight...);
    f("bias", p.bias...);
  }
};

// Short causal convolution, channel by channel.
//   y_t[c] = act(bias[c] + sum_j w[c, j] x_t-width+1+j[c]), act silu or the identity      x, y [channels]
// Cost: 2 width channels flops per token. State: the last width - 1 inputs, oldest first. Row-stable.
// Source: causal_conv1d_ref of Dao-AILab/causal-conv1d 1.7.0, the convolution of Gu, Dao, "Mamba: Linear-Time
// Sequence Modeling with Selective State Spaces", 2023.
// Deviation: public caches keep `width` inputs; to take one over, drop its oldest.
template <class T, class Backend = default_backend<causal_conv>>
class short_conv {
 public:
  using scalar = T;
  using config = short_conv_config;
  using params = short_conv_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<T> conv;  // [width - 1, channels]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("conv", s.conv...); }
  };

  explicit short_conv(config c, std::uint64_t seed = 0)
      : short_conv(c, tensors(checked_config<short_conv>(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  short_conv(config c, params p)
      : config_(checked_config<short_conv>(c)), params_(tensors(c).checked(std::move(p))) {
    taps_ = transposed<T>(decoded<T>(params_.weight));
    if (c.bias) bias_ = decoded<T>(params_.bias);
  }
  static status check(const config& c) {
    if (c.channels < 1 || c.width < 1)
      return message("short_conv: channels is ", c.channels, " and width is ", c.width,
                     ", expected at least 1");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::weight, {c.channels, 1, c.width});
    if (c.bias) t.add(&params::bias, {c.channels}, starts::uniform(c.width));
    return t;
  }

  index_t d_in() const { return config_.channels; }
  index_t d_out() const { return config_.channels; }
  const config& configuration() const { return config_; }
  // Read only: the taps that the kernel reads are derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }

  state init(place where = {}) const {
    return {buffer<T>((config_.width - 1) * config_.channels, T(0), where)};
  }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    scan(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    convolve(ctx, X, s.conv, Y);
  }
  // The same on a past that another memory keeps in its state.
  void convolve(context& ctx, mat_view<const T> X, buffer<T>& past, mat_view<T> Y) const noexcept {
    const index_t C = config_.channels, K = config_.width;
    const causal_conv_taps<T> taps{{data<T>(taps_), K, C}, {data<T>(bias_), bias_.size()}, config_.silu};
    kernel<causal_conv, Backend>::template run<T>(ctx, taps, X, {past.data(), K - 1, C}, Y);
  }
  // What it would give x next, of the channels [from, from + x.size()); the past does not keep x.
  void preview(context& ctx, row_view<const T> x, const buffer<T>& past, index_t from,
               row_view<T> y) const noexcept {
    const index_t C = config_.channels, K = config_.width, n = x.size();
    context::frame scratch(ctx);
    const auto rows = scratch.template mat<T>(K, n);
    for (index_t j = 0; j < K - 1; ++j) std::copy_n(past.data() + j * C + from, n, rows[j].begin());
    std::copy(x.begin(), x.end(), rows[K - 1].begin());
    causal_conv_taps<T> taps{
        .w = mat_view<const T>(data<T>(taps_), K, C).columns(from, n), .bias = {}, .silu = config_.silu};
    if (config_.bias) taps.bias = {data<T>(bias_) + from, n};
    kernel<causal_conv, Backend>::template run<T>(ctx, taps, rows, {nullptr, 0, n}, mat_view<T>(y));
  }

  static std::vector<config> samples() {
    return {{.channels = 5},
            {.channels = 1, .width = 1, .bias = false},
            {.channels = 17, .width = 3, .silu = false},
            {.channels = 67, .width = 7, .bias = false}};
  }

 private:
  config config_;
  params params_;
  weight taps_, bias_;  // [width, channels] and [channels], of T
};

}  // namespace mneme::inline MNEME_ABI
