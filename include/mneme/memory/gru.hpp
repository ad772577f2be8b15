// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/gru.hpp"
#include "../math/bias.hpp"
#include "detail/mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct gru_config {
  index_t d_in = 1, d_hidden = 1;
  bool bias = true;
  dtype storage = dtype::f32;  // of the seeded matrices; loaded weights keep their own
};
struct gru_params {
  weight weight_ih;         // [3 H, d_in], gates r, z, n
  weight weight_hh;         // [3 H, H]
  weight bias_ih, bias_hh;  // [3 H], or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("weight_ih_l0", p.weight_ih...);
    f("weight_hh_l0", p.weight_hh...);
    f("bias_ih_l0", p.bias_ih...);
    f("bias_hh_l0", p.bias_hh...);
  }
};

// Gated recurrent unit: a state per unit that is its output.
//   [pr; pz; pn] = W_ih x + b_ih   [ar; az; an] = W_hh h + b_hh
//   r, z = sigmoid(pr + ar, pz + az)   n = tanh(pn + r an)   h <- (1 - z) n + z h   y = h
//   x [d_in] -> y [H], H = d_hidden
// Cost per token: 6 H (d_in + H) + 20 H flops, 3 H exponentials. State: H elements of T. Row-stable.
// Source: Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio, "Learning Phrase
//   Representations using RNN Encoder-Decoder for Statistical Machine Translation", 2014. Names, gate order
//   and initialisation (uniform in +-1/sqrt(H)) are those of torch.nn.GRU: one layer, one direction.
// Deviations: as in torch, r multiplies W_hn h + b_hn; in the paper it multiplies h, before the product.
template <class T, class Backend = default_backend<gru_recurrence>>
class gru : public detail::mixer<gru<T, Backend>, T, Backend, gru_config, gru_params> {
  using base = detail::mixer<gru, T, Backend, gru_config, gru_params>;
  using base::config_, base::params_;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<T> h;  // [H]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("h", s.h...); }
  };

  static status check(const config& c) {
    if (c.d_in < 1 || c.d_hidden < 1)
      return message("gru: d_in is ", c.d_in, " and d_hidden is ", c.d_hidden, ", expected at least 1");
    return {};
  }
  static config resolved(const config& c) { return c; }
  static tensor_plan<params> tensors(const config& c) {
    const index_t H = c.d_hidden;
    tensor_plan<params> t;
    t.add(&params::weight_ih, {3 * H, c.d_in}, starts::uniform(H), c.storage);
    t.add(&params::weight_hh, {3 * H, H}, starts::uniform(H), c.storage);
    if (c.bias) {
      t.add(&params::bias_ih, {3 * H}, starts::uniform(H));
      t.add(&params::bias_hh, {3 * H}, starts::uniform(H));
    }
    return t;
  }

  index_t d_in() const { return config_.d_in; }
  index_t d_out() const { return config_.d_hidden; }
  state init(place where = {}) const { return {buffer<T>(d_out(), T(0), where)}; }

  // Inputs are projected for all lanes together; then each lane runs its part.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const auto P = base::project(ctx, scratch, params_.weight_ih, X);
    const auto b = scratch.template row<T>(3 * d_out());
    std::fill(b.begin(), b.end(), T(0));
    if (config_.bias) {
      add_bias<arch>(ctx, params_.bias_ih, P);
      decode_row<arch>(params_.bias_hh.type(), params_.bias_hh.data(), b.size(), b.data());
    }
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      kernel<gru_recurrence, Backend>::template run<T>(ctx, params_.weight_hh, b, P.range(row, row + l.rows),
                                                       l.state->h.view(), Y.range(out, out + l.outs));
    });
  }

  static std::vector<config> samples() {
    return {{.d_in = 5, .d_hidden = 3},
            {.d_in = 3, .d_hidden = 17, .bias = false},
            {.d_in = 64, .d_hidden = 32, .storage = dtype::q8_0}};
  }
};

}  // namespace mneme::inline MNEME_ABI
