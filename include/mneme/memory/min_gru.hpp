// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/diagonal_scan.hpp"
#include "../backend/cpu/matmul.hpp"
#include "detail/mixer.hpp"

namespace mneme::inline MNEME_ABI {

struct min_gru_config {
  index_t d_model = 1;
  index_t d_inner = 0;         // E; 0: d_model
  bool proj_out = false;       // needed where d_inner is not d_model
  bool positive = true;        // candidates through g, so that states stay positive; false: as projected
  dtype storage = dtype::f32;  // of the seeded matrices; loaded weights keep their own
};
struct min_gru_params {
  weight to_hidden_and_gate;  // [2 E, d_model]; candidates in the first E rows
  weight to_out;              // [d_model, E], or empty
  static constexpr void fields(auto&& f, auto&... p) {
    f("to_hidden_and_gate.weight", p.to_hidden_and_gate...);
    f("to_out.weight", p.to_out...);
  }
};

// minGRU: a gated unit whose gate and candidate do not read the state, so that it is a linear recurrence.
//   v, k = W x;  z = sigmoid(k);  h <- (1 - z) h + z g(v);  y = h, or W_out h
//   g(v) = v + 1/2 for v >= 0, else sigmoid(v);  or g(v) = v
// Shapes: x, y [D], D = d_model; v, k, z, h [E], E = d_inner.
// Cost per token: 4 D E flops, 2 D E more with an output projection, and 3 E exponentials.
// State: E elements of T. Row-stable. h stays within the range of its start and of the candidates.
// Source: Feng, Tung, Hajimirsadeghi, Ahmed, Bengio, "Were RNNs All We Needed?", 2024, section 3.1 and
//   appendix B; tensor names as minGRU of minGRU-pytorch.
// Deviations: none. The recurrence runs as it is; the paper's logarithmic form serves a parallel scan.
template <class T, class Backend = default_backend<gated_scan>>
class min_gru : public detail::mixer<min_gru<T, Backend>, T, Backend, min_gru_config, min_gru_params> {
  using base = detail::mixer<min_gru, T, Backend, min_gru_config, min_gru_params>;
  using base::config_, base::params_;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    buffer<T> h;  // [E]
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("h", s.h...); }
  };

  static status check(const config& c) {
    if (c.d_model < 1 || c.d_inner < 0)
      return message("min_gru: d_model is ", c.d_model, " and d_inner is ", c.d_inner,
                     ", expected positive sizes");
    if (!c.proj_out && c.d_inner != 0 && c.d_inner != c.d_model)
      return message("min_gru: d_inner is ", c.d_inner, ", expected d_model, ", c.d_model,
                     ", without proj_out");
    return {};
  }
  static config resolved(config c) {
    if (c.d_inner == 0) c.d_inner = c.d_model;
    return c;
  }
  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::to_hidden_and_gate, {2 * c.d_inner, c.d_model}, c.storage);
    if (c.proj_out) t.add(&params::to_out, {c.d_model, c.d_inner}, c.storage);
    return t;
  }
  state init(place where = {}) const { return {buffer<T>(config_.d_inner, T(0), where)}; }

  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const index_t E = config_.d_inner;
    const auto both = base::project(ctx, scratch, params_.to_hidden_and_gate, X);
    for (index_t t = 0; t < X.rows(); ++t) gate(E, both[t].data(), both[t].data() + E);
    const auto h = config_.proj_out ? scratch.template mat<T>(Y.rows(), E) : Y;
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const mat_view<const T> rows = both.range(row, row + l.rows);
      kernel<gated_scan, Backend>::template run<T>(ctx, rows.columns(E, E), rows.columns(0, E),
                                                   l.state->h.view(), h.range(out, out + l.outs));
    });
    if (config_.proj_out && Y.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, params_.to_out, h, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5},
            {.d_model = 7, .d_inner = 19, .proj_out = true},
            {.d_model = 33, .positive = false},
            {.d_model = 32, .d_inner = 64, .proj_out = true, .storage = dtype::q8_0}};
  }

 private:
  // v <- z g(v), k <- 1 - z.
  void gate(index_t E, T* v, T* k) const noexcept {
    for_packs<T, arch>(E, [&]<class P>(index_t e) {
      const P candidate = simd::load<P>(v + e), open = simd::load<P>(k + e);
      const P g = !config_.positive
                      ? candidate
                      : simd::select(candidate < P(T(0)), sigmoid(candidate), candidate + P(T(0.5)));
      simd::store(v + e, sigmoid(open) * g);
      simd::store(k + e, sigmoid(P(T(0)) - open));
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
