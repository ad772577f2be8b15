// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/lstm.hpp"
#include "../core/concepts.hpp"
#include "../math/bias.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct lstm_config {
  index_t d_in = 1, d_hidden = 1;
  bool bias = true;
  dtype storage = dtype::f32;  // of the seeded matrices; loaded weights keep their own
};
struct lstm_params {
  weight weight_ih;         // [4 H, d_in], gates i, f, g, o
  weight weight_hh;         // [4 H, H]
  weight bias_ih, bias_hh;  // [4 H], added; or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("weight_ih_l0", p.weight_ih...);
    f("weight_hh_l0", p.weight_hh...);
    f("bias_ih_l0", p.bias_ih...);
    f("bias_hh_l0", p.bias_hh...);
  }
};
template <class T>
struct lstm_state {
  buffer<T> h, c;  // [H] output and cell
  friend bool operator==(const lstm_state&, const lstm_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("h", s.h...);
    f("c", s.c...);
  }
};

// Long short-term memory: a cell per unit, written and read through gates.
//   [zi; zf; zg; zo] = W_ih x + b_ih + W_hh h + b_hh
//   i, f, o = sigmoid(zi, zf, zo)   g = tanh(zg)   c <- f c + i g   h <- o tanh(c)   y = h
//   x [d_in] -> y [H], H = d_hidden
// Cost per token: 8 H (d_in + H) + 25 H flops, 5 H exponentials. State: 2 H elements of T. Row-stable.
// Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; Gers, Schmidhuber, Cummins, "Learning to
//   Forget: Continual Prediction with LSTM", 2000 (forget gate). Names, gate order and initialisation
//   (uniform in +-1/sqrt(H)) are those of torch.nn.LSTM: one layer, one direction.
// Deviations: none. Layers are chained, not counted: load layer n of a checkpoint under the names of layer 0.
template <class T, class Backend = default_backend<lstm_recurrence>>
class lstm {
 public:
  using scalar = T;
  using config = lstm_config;
  using params = lstm_params;
  using state = lstm_state<T>;
  static constexpr bool row_stable = true;

  explicit lstm(config c, std::uint64_t seed = 0)
      : config_(checked_config<lstm>(c)), params_(tensors(c).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  lstm(config c, params p) : config_(checked_config<lstm>(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    if (c.d_in < 1 || c.d_hidden < 1)
      return message("lstm: d_in is ", c.d_in, " and d_hidden is ", c.d_hidden, ", expected at least 1");
    if (c.d_in % info(c.storage).block != 0 || c.d_hidden % info(c.storage).block != 0)
      return message("lstm: d_in is ", c.d_in, " and d_hidden is ", c.d_hidden, ", expected multiples of ",
                     info(c.storage).block, " (", info(c.storage).name, ")");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    const index_t H = c.d_hidden;
    tensor_plan<params> t;
    t.add(&params::weight_ih, {4 * H, c.d_in}, starts::uniform(H), c.storage);
    t.add(&params::weight_hh, {4 * H, H}, starts::uniform(H), c.storage);
    if (c.bias) {
      t.add(&params::bias_ih, {4 * H}, starts::uniform(H));
      t.add(&params::bias_hh, {4 * H}, starts::uniform(H));
    }
    return t;
  }

  index_t d_in() const { return config_.d_in; }
  index_t d_out() const { return config_.d_hidden; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }
  state init(place where = {}) const {
    return {buffer<T>(d_out(), T(0), where), buffer<T>(d_out(), T(0), where)};
  }

  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    scan(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> all{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&all, 1}, X, Y);
  }
  // Inputs are projected for all lanes together, a block of packed rows at a time; then each lane
  // runs its part.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const index_t block = std::min(ctx.block_rows, X.rows());
    const auto P = scratch.mat<T>(block, 4 * d_out());
    auto l = lanes.begin();
    index_t used = 0, y = 0;  // rows of lane l, rows of Y
    for (index_t from = 0; from < X.rows();) {
      const index_t n = std::min(block, X.rows() - from);
      project(ctx, X.range(from, from + n), P.first(n));
      for (index_t r = 0; r < n;) {
        for (; used == l->rows; used = 0) ++l;
        const index_t take = std::min(l->rows - used, n - r);
        const index_t outs = std::clamp<index_t>(used + take - (l->rows - l->outs), 0, take);
        kernel<lstm_recurrence, Backend>::template run<T>(ctx, params_.weight_hh, P.range(r, r + take),
                                                          l->state->h.view(), l->state->c.view(),
                                                          Y.range(y, y + outs));
        used += take, r += take, y += outs;
      }
      from += n;
    }
  }

  static std::vector<config> samples() {
    return {{.d_in = 5, .d_hidden = 3},
            {.d_in = 3, .d_hidden = 17, .bias = false},
            {.d_in = 32, .d_hidden = 33, .storage = dtype::f32},
            {.d_in = 64, .d_hidden = 32, .storage = dtype::q8_0}};
  }

 private:
  void project(context& ctx, mat_view<const T> X, mat_view<T> P) const noexcept {
    using arch = typename arch_of<Backend>::type;
    kernel<matmul, Backend>::template run<T>(ctx, params_.weight_ih, X, P);
    if (!config_.bias) return;
    add_bias<arch>(ctx, params_.bias_ih, P);
    add_bias<arch>(ctx, params_.bias_hh, P);
  }

  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
