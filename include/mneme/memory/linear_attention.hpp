// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/recurrence.hpp"
#include "../core/compose/group.hpp"
#include "../math/feature_map.hpp"
#include "../math/random.hpp"
#include "detail/lanes.hpp"

namespace mneme::inline MNEME_ABI {

struct linear_attention_config {
  index_t d_model = 1;
  index_t heads = 1;
  index_t head_dim_k = 0;  // 0: d_model / heads
  index_t head_dim_v = 0;  // 0: d_model / heads
  feature_map features = feature_map::elu1;
  bool normalise = true;       // divide by the sum of the weights; asks for features that are not negative
  double epsilon = 1e-10;      // added to that sum
  dtype storage = dtype::f32;  // of seeded weights whose rows fill its blocks; loaded ones keep theirs
};
struct linear_attention_params {
  weight q_proj, k_proj;  // [heads head_dim_k, d_model]
  weight v_proj;          // [heads head_dim_v, d_model]
  weight o_proj;          // [d_model, heads head_dim_v]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Linear attention.
//   q, k, v = phi(W_q x) / sqrt(K), phi(W_k x), W_v x        per head
//   S <- S + k v^T;  z <- z + k;  o = S^T q, and with `normalise` o / (z.q + epsilon);  y = W_o [o_0 ..
//   o_H-1]
// Shapes: x, y [D]; q, k [H, K]; v, o [H, V]; D = d_model, H = heads, K = head_dim_k, V = head_dim_v.
// Cost per token: 4 D H (K + V) + 4 H K V flops. State: H K V elements of T, and H K with `normalise`,
// whatever the length of the past. Row-stable.
// Source: Katharopoulos, Vyas, Pappas, Fleuret, "Transformers are RNNs: Fast Autoregressive Transformers with
// Linear Attention", 2020, equations 16 to 20.
// Deviations: q is scaled by 1 / sqrt(K), which matters to the unnormalised form only; W_o as in public code;
// no residual and feed-forward part, which are layers of their own. z is kept beside S, not as a column of
// ones on v, so that S keeps its shape.
template <class T, class Backend = default_backend<recurrence<rules::linear_attention>>>
class linear_attention {
 public:
  using scalar = T;
  using config = linear_attention_config;
  using params = linear_attention_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<T> S;  // [H, K, V]
    buffer<T> z;  // [H, K], or empty without `normalise`
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("state", s.S...);
      f("normaliser", s.z...);
    }
  };

  explicit linear_attention(config c, std::uint64_t seed = 0) : linear_attention(c, initial(c, seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  linear_attention(config c, params p) : config_(resolved(c)), params_(std::move(p)) {
    expect_shape("q_proj.weight", params_.q_proj, {keys(config_), config_.d_model}).or_fail();
    expect_shape("k_proj.weight", params_.k_proj, {keys(config_), config_.d_model}).or_fail();
    expect_shape("v_proj.weight", params_.v_proj, {values(config_), config_.d_model}).or_fail();
    expect_shape("o_proj.weight", params_.o_proj, {config_.d_model, values(config_)}).or_fail();
  }
  static status check(const config& c) {
    if (c.d_model < 1 || c.heads < 1 || c.head_dim_k < 0 || c.head_dim_v < 0)
      return message("linear_attention: d_model is ", c.d_model, ", heads is ", c.heads, ", head_dim_k is ",
                     c.head_dim_k, ", head_dim_v is ", c.head_dim_v, ", expected positive sizes");
    if ((c.head_dim_k == 0 || c.head_dim_v == 0) && c.d_model % c.heads != 0)
      return message("linear_attention: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads,
                     ", or explicit head_dim_k and head_dim_v");
    if (!(c.epsilon >= 0))
      return message("linear_attention: epsilon is ", c.epsilon, ", expected at least 0");
    return {};
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  state init(place where = {}) const {
    return {buffer<T>(keys(config_) * config_.head_dim_v, T(0), where),
            buffer<T>(config_.normalise ? keys(config_) : 0, T(0), where)};
  }
  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    one_lane(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    for_row_blocks(ctx.block_rows, X, Y, [&](auto x, auto y) { one_lane(ctx, s, x, y); });
  }
  // The projections read their weights once for all lanes; the recurrence goes lane by lane.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto q = project(ctx, scratch, params_.q_proj, detail::needed<T>(scratch, lanes, X));
    const auto k = project(ctx, scratch, params_.k_proj, X), v = project(ctx, scratch, params_.v_proj, X);
    const auto o = scratch.template mat<T>(Y.rows(), values(config_));
    const T scale = T(1) / std::sqrt(static_cast<T>(config_.head_dim_k));
    for (index_t r = 0; r < q.rows(); ++r) {
      apply<arch>(config_.features, q[r]);
      map_row<arch>(q.cols(), q[r].data(), q[r].data(), [scale]<class P>(P a) { return a * P(scale); });
    }
    for (index_t r = 0; r < k.rows(); ++r) apply<arch>(config_.features, k[r]);
    detail::for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const recurrence_rows<T> in{
          .q = q.range(out, out + l.outs), .k = k.range(row, row + l.rows), .v = v.range(row, row + l.rows)};
      const auto outs = o.range(out, out + l.outs);
      run_heads<rules::linear_attention, Backend>(ctx, config_.heads, config_.heads, l.state->S.data(), in,
                                                  outs);
      if (config_.normalise) divide(in.q, in.k, l.state->z.data(), outs);
    });
    if (Y.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, o, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3},
            {.d_model = 5, .heads = 2, .head_dim_k = 7, .head_dim_v = 67, .normalise = false},
            {.d_model = 13, .heads = 1, .head_dim_k = 3, .head_dim_v = 1, .features = feature_map::sigmoid},
            {.d_model = 64, .heads = 2, .normalise = false, .storage = dtype::q8_0}};
  }

 private:
  using arch = typename arch_of<Backend>::type;

  static index_t keys(const config& c) { return c.heads * c.head_dim_k; }
  static index_t values(const config& c) { return c.heads * c.head_dim_v; }
  static config resolved(config c) {
    check(c).or_fail();
    if (c.head_dim_k == 0) c.head_dim_k = c.d_model / c.heads;
    if (c.head_dim_v == 0) c.head_dim_v = c.d_model / c.heads;
    return c;
  }
  static params initial(const config& given, std::uint64_t seed) {
    const config c = resolved(given);
    const auto make = [&](index_t out, index_t in, std::uint64_t stream) {
      return detail::stored_if_whole(uniform_weight({out, in}, in, random_stream(seed, stream)), c.storage);
    };
    return {make(keys(c), c.d_model, 0), make(keys(c), c.d_model, 1), make(values(c), c.d_model, 2),
            make(c.d_model, values(c), 3)};
  }

  void one_lane(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  static mat_view<T> project(context& ctx, context::frame& scratch, const weight& W,
                             mat_view<const T> X) noexcept {
    return detail::project<Backend, T>(ctx, scratch, W, X);
  }
  // Adds the keys to z; divides the last outputs by their sums of weights.
  void divide(mat_view<const T> q, mat_view<const T> k, T* z, mat_view<T> o) const noexcept {
    const index_t K = config_.head_dim_k, V = config_.head_dim_v, unread = k.rows() - o.rows();
    for (index_t t = 0; t < k.rows(); ++t) {
      axpy<arch>(k.cols(), T(1), k[t].data(), z);
      if (t < unread) continue;
      for (index_t h = 0; h < config_.heads; ++h) {
        T* const of_head = o[t - unread].data() + h * V;
        const T sum = dot<arch>(K, q[t - unread].data() + h * K, z + h * K) + static_cast<T>(config_.epsilon);
        map_row<arch>(V, of_head, of_head, [sum]<class P>(P a) { return a / P(sum); });
      }
    }
  }

  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
