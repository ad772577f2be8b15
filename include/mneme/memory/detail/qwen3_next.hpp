// SPDX-License-Identifier: Apache-2.0
// The public tensors of Qwen3-Next's linear attention, and a gated delta net made of them.
#pragma once
#include "../../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

// Names and order as Qwen3NextGatedDeltaNet of transformers, where projections come key head by key head.
// Hk = heads, Hv = value_heads, r = Hv / Hk, K = head_dim_k, V = head_dim_v.
//   qwen3_next_params p;
//   load_weights(file, p, "model.layers.0.linear_attn").or_fail();
//   gated_delta_net<float> m(c, gated_delta_net<float>::from_qwen3_next(c, p).value());
struct qwen3_next_params {
  weight in_proj_qkvz;    // [2 Hk K + 2 Hv V, d_model]; per key head rows q [K], k [K], v [r V], z [r V]
  weight in_proj_ba;      // [2 Hv, d_model]; per key head rows b [r], a [r]
  weight conv1d;          // [2 Hk K + Hv V, 1, conv_size]: all q, all k, all v
  weight dt_bias, A_log;  // [Hv]
  weight norm;            // [V]
  weight out_proj;        // [d_model, Hv V]
  static constexpr void fields(auto&& f, auto&... p) {
    f("in_proj_qkvz.weight", p.in_proj_qkvz...);
    f("in_proj_ba.weight", p.in_proj_ba...);
    f("conv1d.weight", p.conv1d...);
    f("dt_bias", p.dt_bias...);
    f("A_log", p.A_log...);
    f("norm.weight", p.norm...);
    f("out_proj.weight", p.out_proj...);
  }
};

namespace detail {

// Of every `period` rows of W the `count` from `first` on, one after the other: a copy of the same type.
inline weight rows_of_every(const weight& W, index_t period, index_t first, index_t count) {
  const auto bytes = [&](index_t rows) { return rows * row_bytes(W.type(), W.cols()); };
  buffer<std::byte> rows(bytes(W.rows() / period * count));
  for (index_t from = first, at = 0; from < W.rows(); from += period, at += bytes(count))
    std::memcpy(rows.data() + at, W.row(from), static_cast<std::size_t>(bytes(count)));
  return weight::copy_of(rows.data(), {W.rows() / period * count, W.cols(), 1}, 2, W.type());
}
// Channels [from, from + count) of a convolution [channels, 1, width], sharing its bytes.
inline weight channels_of(const weight& taps, index_t from, index_t count) {
  return {taps.row(from), {count, 1, taps.cols()}, 3, taps.type(), std::make_shared<const weight>(taps)};
}

// The config is one of gated_delta_net, checked and resolved. Projections are copied, all else is shared.
template <class Params, class Config>
expected<Params> from_qwen3_next(const Config& c, const qwen3_next_params& p) {
  if (!c.use_short_conv || !c.use_gate || c.allow_neg_eigval)
    return message("qwen3_next: use_short_conv is ", c.use_short_conv, ", use_gate is ", c.use_gate,
                   ", allow_neg_eigval is ", c.allow_neg_eigval, ", expected 1, 1, 0");
  const index_t D = c.d_model, K = c.head_dim_k, HK = c.heads * K, HV = c.value_heads * c.head_dim_v,
                share = c.value_heads / c.heads, V = share * c.head_dim_v;
  tensor_plan<qwen3_next_params> t;
  t.add(&qwen3_next_params::in_proj_qkvz, {2 * HK + 2 * HV, D});
  t.add(&qwen3_next_params::in_proj_ba, {2 * c.value_heads, D});
  t.add(&qwen3_next_params::conv1d, {2 * HK + HV, 1, c.conv_size});
  t.add(&qwen3_next_params::dt_bias, {c.value_heads});
  t.add(&qwen3_next_params::A_log, {c.value_heads});
  t.add(&qwen3_next_params::norm, {c.head_dim_v});
  t.add(&qwen3_next_params::out_proj, {D, HV});
  if (const status fits = t.check(p); !fits) return fits.error();
  const auto qkvz = [&](index_t first, index_t count) {
    return rows_of_every(p.in_proj_qkvz, 2 * K + 2 * V, first, count);
  };
  return Params{.q_proj = qkvz(0, K),
                .k_proj = qkvz(K, K),
                .v_proj = qkvz(2 * K, V),
                .a_proj = rows_of_every(p.in_proj_ba, 2 * share, share, share),
                .b_proj = rows_of_every(p.in_proj_ba, 2 * share, 0, share),
                .A_log = p.A_log,
                .dt_bias = p.dt_bias,
                .q_conv1d = channels_of(p.conv1d, 0, HK),
                .k_conv1d = channels_of(p.conv1d, HK, HK),
                .v_conv1d = channels_of(p.conv1d, 2 * HK, HV),
                .g_proj = qkvz(2 * K + V, V),
                .o_norm = p.norm,
                .o_proj = p.out_proj};
}

}  // namespace detail
}  // namespace mneme::inline MNEME_ABI
