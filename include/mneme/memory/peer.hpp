// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/rms_norm.hpp"
#include "detail/product_key_lookup.hpp"

namespace mneme::inline MNEME_ABI {

struct peer_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t sub_keys = 128;  // n: per half; n^2 experts
  index_t top_k = 16;      // experts per head
  index_t d_key = 0;  // width of a query half and of a sub-key; 0: d_model / (2 heads) rounded up, at least 2
  product_key_gate gate = product_key_gate::softmax;  // relu: scores do not compete
  bool separate_embed_per_head = false;               // n^2 experts for every head, instead of for all
  bool pre_rmsnorm = false;                           // of the input
  double epsilon = 1e-12;                             // of that norm
  dtype storage = dtype::f32;                         // of the seeded experts; loaded ones keep theirs

  index_t key_width() const { return d_key > 0 ? d_key : detail::product_key_width(d_model, heads); }
  index_t experts() const { return sub_keys * sub_keys * (separate_embed_per_head ? heads : 1); }
};
struct peer_params {
  weight norm;                                // [d_model], or empty
  weight query_proj;                          // [2 H dk, d_model], rows (head, half, dk)
  weight keys;                                // [2 H, n, dk], heads outermost, then halves
  weight weight_down_embed, weight_up_embed;  // [experts, d_model], any storage type
  static constexpr void fields(auto&& f, auto&... p) {
    f("norm.weight", p.norm...);
    f("query_proj.weight", p.query_proj...);
    f("keys", p.keys...);
    f("weight_down_embed.weight", p.weight_down_embed...);
    f("weight_up_embed.weight", p.weight_up_embed...);
  }
};

// Parameter-efficient expert retrieval: n^2 experts of one hidden unit, of which a token runs a few.
//   x <- rms_norm(x) if pre_rmsnorm;  q = W_q x
//   per head the top_k experts under q, as in product_key, with scores v:  g = gate(v)
//   y = sum over heads and selected experts i of g_i gelu(u_i . x) d_i
//   x, y [d_model]    u, d: rows of the two tables    gelu(a) = a/2 (1 + erf(a / sqrt 2))
// Cost per token: 4 H dk d_model + 4 H n dk + 4 H top_k d_model flops; reads the sub-keys and 2 H top_k rows
// of the tables. State: none. Row-stable. No expert is selected for a row of NaN: it gives a row of zeros.
// Source: He, "Mixture of A Million Experts", 2024, section 2, algorithm 1. Experts start normal with
// deviation 1/sqrt(d_model), keys with 0.02.
// Checkpoints: the Python package PEER-pytorch orders query rows (half, head, dk) and keys [H, n, 2, dk]:
// permute both; its norm.gamma is norm.weight - 1 here. Its default, non_competing_scores, keeps the best
// product of every head only: gate relu, top_k 1.
template <class T, class Backend = default_backend<product_key_address>>
class peer : public detail::lookup<peer<T, Backend>, T, peer_config, peer_params> {
  using base = detail::lookup<peer, T, peer_config, peer_params>;
  using base::config_, base::params_;

 public:
  using base::base;
  using typename base::config, typename base::params;

  static status check(const config& c) {
    if (const status s = detail::check_lookup("peer", c); !s) return s;
    if (const index_t block = info(c.storage).block; c.d_model % block != 0)
      return message("peer: experts of width ", c.d_model, " cannot be stored as ", info(c.storage).name,
                     ", expected a multiple of ", block);
    return {};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, halves = 2 * c.heads, dk = c.key_width();
    const start rows = starts::normal(1 / std::sqrt(static_cast<double>(D)));
    tensor_plan<params> t;
    if (c.pre_rmsnorm) t.add(&params::norm, {D}, starts::constant(1));
    t.add(&params::query_proj, {halves * dk, D});
    t.add(&params::keys, {halves, c.sub_keys, dk}, starts::normal(0.02));
    t.add(&params::weight_down_embed, {c.experts(), D}, rows, c.storage);
    t.add(&params::weight_up_embed, {c.experts(), D}, rows, c.storage);
    return t;
  }

  index_t d_out() const { return config_.d_model; }
  void map(context& ctx, mat_view<const T> input, mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const index_t R = input.rows(), k = config_.top_k, selected = config_.heads * k;
    auto X = input;
    if (config_.pre_rmsnorm) {
      const auto normed = scratch.template mat<T>(R, X.cols());
      kernel<rms_normalise, Backend>::template run<T>(params_.norm, config_.epsilon, X, normed);
      X = normed;
    }
    const auto Q = detail::project<Backend, T>(ctx, scratch, params_.query_proj, X);
    const auto ids = scratch.template mat<index_t>(R, selected);
    const auto w = scratch.template mat<T>(R, selected), a = scratch.template mat<T>(R, selected);
    kernel<product_key_address, Backend>::template run<T>(ctx, params_.keys, k, config_.gate, Q, ids, w);
    if (config_.separate_embed_per_head)
      for (index_t r = 0; r < R; ++r)
        for (index_t m = 0; m < selected; ++m)
          if (ids[r][m] >= 0) ids[r][m] += m / k * config_.sub_keys * config_.sub_keys;
    kernel<embedding_dot, Backend>::template run<T>(ctx, params_.weight_down_embed, ids, X, a);
    for (index_t r = 0; r < R; ++r)
      for (index_t m = 0; m < selected; ++m)
        w[r][m] *= a[r][m] / 2 * (1 + std::erf(a[r][m] * std::numbers::sqrt2_v<T> / 2));
    kernel<embedding_bag, Backend>::template run<T>(ctx, params_.weight_up_embed, ids, w, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 7, .sub_keys = 5, .top_k = 3},
            {.d_model = 19,
             .heads = 3,
             .sub_keys = 7,
             .top_k = 5,
             .gate = product_key_gate::relu,
             .separate_embed_per_head = true,
             .pre_rmsnorm = true},
            {.d_model = 64, .heads = 2, .sub_keys = 9, .top_k = 11, .d_key = 5, .storage = dtype::q8_0}};
  }
};

}  // namespace mneme::inline MNEME_ABI
