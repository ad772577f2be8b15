// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/attention.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../core/any_memory.hpp"
#include "../evict/full.hpp"
#include "../math/rope.hpp"
#include "../math/tensor_plan.hpp"
#include "../store/codec/f32.hpp"
#include "../store/contiguous.hpp"
#include "detail/kv_cache.hpp"

namespace mneme::inline MNEME_ABI {

struct kv_attention_config {
  index_t d_model = 1;
  index_t heads = 1;         // query heads
  index_t kv_heads = 0;      // key/value heads; 0: heads. Query head h reads list h kv_heads / heads
  index_t head_dim = 0;      // 0: d_model / heads
  index_t capacity = 0;      // entries kept per list; ignored by evict::full
  double rope_base = 10000;  // 0: no rotary positions
  rope_pairs pairs = rope_pairs::half_split;
  dtype storage = dtype::f32;  // of the seeded weights; loaded weights keep their own
};
struct kv_attention_params {
  weight q_proj;          // [heads head_dim, d_model]
  weight k_proj, v_proj;  // [kv_heads head_dim, d_model]
  weight o_proj;          // [d_model, heads head_dim]
  static constexpr void fields(auto&& f, auto&... p) {
    f("q_proj.weight", p.q_proj...);
    f("k_proj.weight", p.k_proj...);
    f("v_proj.weight", p.v_proj...);
    f("o_proj.weight", p.o_proj...);
  }
};

// Softmax attention over a key/value cache of bounded (or, under evict::full, growing) size.
//   q, k, v = W_q x, W_k x, W_v x;  q and k turned to their absolute position
//   append (k, v);  o_h = sum_i softmax_i(q_h . k_i / sqrt(head_dim)) v_i over all live entries, the new one included;
//   more than `capacity` live: the policy names one that leaves;  y = W_o [o_0 .. o_heads-1]
// Shapes: x, y [d_model]; per key/value head a list of entries; query heads share lists in groups.
// Cost per token: the projections and 4 heads head_dim size flops. State: (capacity + 1) slots of keys and values in
// the store's codec, positions, the policy's memory of each entry. Row-stable.
// Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2; grouped queries: Ainslie et al., "GQA:
// Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints", 2023; policies: see evict/.
template <class T, class Policy = evict::full, class Store = store::contiguous<store::f32>,
          class Backend = default_backend<attention>>
  requires evict::Policy<Policy>
class kv_attention {
 public:
  using scalar = T;
  using config = kv_attention_config;
  using params = kv_attention_params;
  using cache = kv_cache<T, Policy, Store>;
  using state = typename cache::state;
  static constexpr bool row_stable = true;
  // What the stored form of keys and values rounds off, relative to the largest channel.
  static constexpr double storage_epsilon = storage_rounding(Store::codec::type);

  explicit kv_attention(config c, std::uint64_t seed = 0)
      : kv_attention(c, tensors(resolved(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  kv_attention(config c, params p) : config_(resolved(c)), params_(tensors(config_).checked(std::move(p))) {
    const config& r = config_;
    cache_ = cache({r.kv_heads, r.head_dim, r.head_dim}, r.capacity);
    if (r.rope_base > 0) rope_ = rope(r.head_dim, r.rope_base, r.pairs);
  }
  static status check(const config& c) {
    const index_t kv_heads = c.kv_heads > 0 ? c.kv_heads : c.heads;
    if (c.d_model < 1 || c.heads < 1 || c.kv_heads < 0 || c.head_dim < 0)
      return message("kv_attention: d_model is ", c.d_model, ", heads is ", c.heads, ", kv_heads is ", c.kv_heads,
                     ", head_dim is ", c.head_dim, ", expected positive sizes");
    if (c.heads % kv_heads != 0)
      return message("kv_attention: heads is ", c.heads, ", expected a multiple of kv_heads, ", kv_heads);
    if (c.head_dim == 0 && c.d_model % c.heads != 0)
      return message("kv_attention: d_model is ", c.d_model, ", expected a multiple of heads, ", c.heads,
                     ", or an explicit head_dim");
    if (const index_t d = c.head_dim > 0 ? c.head_dim : c.d_model / c.heads; c.rope_base > 0 && d % 2 != 0)
      return message("kv_attention: head_dim is ", d, ", expected an even number for rotary positions");
    if (Policy::bounded && c.capacity < 1)
      return message("kv_attention: capacity is ", c.capacity, ", expected at least 1 under policy ", Policy::name);
    return {};
  }

  // Of a resolved config.
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, Q = c.heads * c.head_dim, KV = c.kv_heads * c.head_dim;
    tensor_plan<params> t;
    t.add(&params::q_proj, {Q, D}, c.storage);
    t.add(&params::k_proj, {KV, D}, c.storage);
    t.add(&params::v_proj, {KV, D}, c.storage);
    t.add(&params::o_proj, {D, Q}, c.storage);
    return t;
  }

  index_t d_in() const { return config_.d_model; }
  index_t d_out() const { return config_.d_model; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }
  index_t capacity() const { return Policy::bounded ? config_.capacity : 0; }
  index_t lists() const { return config_.kv_heads; }
  std::vector<index_t> live(const state& s, index_t list) const { return cache_.live(s, list); }
  bool valid(const state& s) const { return cache_.valid(s); }

  state init(place where = {}) const { return cache_.init(where); }
  bool reserve(state& s, index_t n) const
    requires(!Policy::bounded)
  {
    cache_.reserve(s, n);
    return true;
  }

  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    scan(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  // Projections of all lanes in one product each; attention lane by lane, token by token.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto Q = project(ctx, scratch, params_.q_proj, X), K = project(ctx, scratch, params_.k_proj, X),
               V = project(ctx, scratch, params_.v_proj, X);
    const auto O = scratch.template mat<T>(Y.rows(), Q.cols());
    const auto unread = scratch.template mat<T>(1, Q.cols());
    index_t x = 0, y = 0;
    for (const auto& l : lanes)
      for (index_t t = 0; t < l.rows; ++t, ++x) {
        const bool wanted = t >= l.rows - l.outs;
        token(ctx, *l.state, Q[x], K[x], V[x], wanted || Policy::reads_attention, wanted ? O[y] : unread[0]);
        y += wanted;
      }
    if (Y.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, O, Y);
  }
  // Attends as the next token would, without appending it.
  void read(context& ctx, const state& s, row_view<const T> x, row_view<T> y) const noexcept {
    context::frame scratch(ctx);
    const auto Q = project(ctx, scratch, params_.q_proj, mat_view<const T>(x));
    const auto O = scratch.template mat<T>(1, Q.cols());
    turn(ctx, s.newest + 1, Q[0]);
    attend(ctx, s, Q[0], O[0], {});
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, O, mat_view<T>(y));
  }

  static std::vector<config> samples() {
    return {{.d_model = 6, .heads = 3, .capacity = 1},
            {.d_model = 12, .heads = 6, .kv_heads = 2, .head_dim = 10, .capacity = 5, .rope_base = 0},
            {.d_model = 35, .heads = 5, .kv_heads = 1, .head_dim = 18, .capacity = 7,
             .pairs = rope_pairs::interleaved},
            {.d_model = 64, .heads = 2, .capacity = 16, .storage = dtype::q8_0}};
  }

 private:
  static config resolved(config c) {
    check(c).or_fail();
    if (c.kv_heads == 0) c.kv_heads = c.heads;
    if (c.head_dim == 0) c.head_dim = c.d_model / c.heads;
    return c;
  }
  mat_view<T> project(context& ctx, context::frame& scratch, const weight& w, mat_view<const T> X) const noexcept {
    const auto Y = scratch.template mat<T>(X.rows(), w.rows());
    kernel<matmul, Backend>::template run<T>(ctx, w, X, Y);
    return Y;
  }
  // Turns every head of a row to a position.
  void turn(context& ctx, index_t position, row_view<T> row) const noexcept {
    if (rope_.pairs() == 0) return;
    context::frame scratch(ctx);
    const auto table = scratch.template row<T>(2 * rope_.pairs());
    rope_.angles(position, table);
    for (index_t c = 0; c < row.size(); c += config_.head_dim) rope_.template rotate<T>(table, row.data() + c);
  }
  void token(context& ctx, state& s, row_view<T> q, row_view<T> k, row_view<T> v, bool attends,
             row_view<T> o) const noexcept {
    turn(ctx, s.newest + 1, k);
    cache_.append(s, k.data(), v.data());
    if (!attends) return cache_.evict(ctx, s, {});
    turn(ctx, s.newest, q);
    context::frame scratch(ctx);
    const auto P = scratch.template mat<T>(Policy::reads_attention ? config_.heads : 0, s.size);
    attend(ctx, s, q, o, P);
    cache_.evict(ctx, s, P);
  }
  // All query heads over their lists; P [heads, size] receives the attention if it has rows.
  void attend(context& ctx, const state& s, row_view<const T> q, row_view<T> o, mat_view<T> P) const noexcept {
    const index_t d = config_.head_dim, group = config_.heads / config_.kv_heads;
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    const auto one_list = [&](index_t list, context& worker) {
      const index_t from = list * group;
      kernel<attention, Backend>::template run<Store::codec::type, T>(
          worker, s.store.rows(cache_.shape(), list, s.size), scale, {q.data() + from * d, group, d},
          {o.data() + from * d, group, d}, P.rows() > 0 ? P.range(from, from + group) : P);
    };
    // Below this much work, waking a thread costs more than it saves; the numbers are the same either way.
    constexpr index_t worth_a_thread = 1 << 17;
    if (s.size * q.size() >= worth_a_thread)
      ctx.parallel_for(config_.kv_heads, one_list);
    else
      for (index_t list = 0; list < config_.kv_heads; ++list) one_list(list, ctx);
  }

  config config_;
  params params_;
  cache cache_;
  rope rope_;
};

}  // namespace mneme::inline MNEME_ABI
