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
#include "detail/kv_attend.hpp"
#include "detail/mixer.hpp"

namespace mneme::inline MNEME_ABI {

// Where rotary positions are counted: by the token's place in the stream, kept for good, or by the entry's
// place among the live entries of its list, which moves when older ones leave.
enum class kv_positions : std::uint8_t { stream, cache };

struct kv_attention_config {
  index_t d_model = 1;
  index_t heads = 1;         // query heads
  index_t kv_heads = 0;      // key/value heads; 0: heads. Query head h reads list h kv_heads / heads
  index_t head_dim = 0;      // 0: d_model / heads
  index_t capacity = 0;      // entries kept per list; ignored by evict::full
  double rope_base = 10000;  // 0: no rotary positions
  rope_pairs pairs = rope_pairs::half_split;
  dtype storage = dtype::f32;  // of the seeded weights; loaded weights keep their own
  index_t rotary_dim = 0;      // channels of a head that are turned, the first ones; 0: all
  rope_scaling scaling = {};
  kv_positions positions = kv_positions::stream;
  bool alibi = false;  // scores fall by slope_h for every token (or place) between query and entry
  evict::trigger when = evict::trigger::token;
  evict::merge merging = evict::merge::none;
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
//   q, k, v = W_q x, W_k x, W_v x;  q and k turned to their position
//   append (k, v);  o_h = sum_i softmax_i(q_h . k_i / sqrt(head_dim)) v_i over live entries, the new one too;
//   more than `capacity` live: the policy names one that leaves;  y = W_o [o_0 .. o_heads-1]
// Under trigger::segment lists grow until end_segment cuts them to `capacity`. Under kv_positions::cache keys
// are stored as they are and turned when attended: 3 size kv_heads head_dim flops more.
// Shapes: x, y [d_model]; per key/value head a list of entries; query heads share lists in groups.
// Cost per token: the projections and 4 heads head_dim size flops. State: (capacity + 1) slots of keys and
// values in the store's codec, positions, the policy's memory of entries and queries. Row-stable.
// Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2; grouped queries: Ainslie et al.,
// "GQA:
// Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints", 2023; positions in the
// cache: Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023, section 3.2; alibi:
// see op/attention.hpp;
// policies: see evict/.
template <class T, class Policy = evict::full, class Store = store::contiguous<store::f32>,
          class Backend = default_backend<attention>>
  requires evict::Policy<Policy> && store::Under<Store, Policy>
class kv_attention {
 public:
  using scalar = T;
  using config = kv_attention_config;
  using params = kv_attention_params;
  using cache = kv_cache<T, Policy, Store>;
  using state = typename cache::state;
  static constexpr bool row_stable = true;
  // What the stored form of keys and values rounds off, relative to the largest channel.
  static constexpr double storage_epsilon = Store::rounding;

  explicit kv_attention(config c, std::uint64_t seed = 0)
      : kv_attention(c, tensors(resolved(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  kv_attention(config c, params p) : config_(resolved(c)), params_(tensors(config_).checked(std::move(p))) {
    const config& r = config_;
    cache_ = cache({r.kv_heads, r.head_dim + counted(), r.head_dim},
                   {r.capacity, r.heads, r.head_dim, r.when, r.merging});
    if (r.rope_base > 0) rope_ = rope(r.rotary_dim, r.rope_base, r.pairs, r.scaling);
    if (by_rank()) ranks_ = rank_angles<T>(rope_, r.capacity + 1);
    if (r.alibi) slopes_.resize(r.heads);
    for (index_t h = 0; h < slopes_.size(); ++h) slopes_[h] = alibi_slope(h, r.heads);
  }
  static status check(const config& c) {
    const index_t kv_heads = c.kv_heads > 0 ? c.kv_heads : c.heads;
    if (status s = detail::expect_heads("kv_attention", c.d_model, c.heads, {{"head_dim", c.head_dim}}); !s)
      return s;
    if (status s = expect_sizes("kv_attention", {{"kv_heads", c.kv_heads, 0}}); !s) return s;
    if (c.heads % kv_heads != 0)
      return message("kv_attention: heads is ", c.heads, ", expected a multiple of kv_heads, ", kv_heads);
    const index_t d = c.head_dim > 0 ? c.head_dim : c.d_model / c.heads;
    if (c.rope_base > 0 && c.rotary_dim == 0 && d % 2 != 0)
      return message("kv_attention: head_dim is ", d, ", expected an even number for rotary positions");
    if (c.rotary_dim < 0 || c.rotary_dim > d || c.rotary_dim % 2 != 0)
      return message("kv_attention: rotary_dim is ", c.rotary_dim,
                     ", expected an even number up to head_dim, ", d);
    if (c.scaling.how != rope_stretch::none && !(c.scaling.factor > 0 && c.scaling.trained > 0))
      return message("kv_attention: scaling has factor ", c.scaling.factor, " and trained length ",
                     c.scaling.trained, ", expected positive numbers");
    if (c.positions == kv_positions::cache && evict::ReadsQueries<Policy>)
      return message("kv_attention: policy ", Policy::name,
                     " compares queries with keys, expected positions of the stream");
    if (Policy::bounded && c.when == evict::trigger::segment && !cache::resizable)
      return message("kv_attention: store ", Store::name,
                     " cannot grow, expected evictions after every token");
    if (Policy::bounded && c.capacity < 1)
      return message("kv_attention: capacity is ", c.capacity, ", expected at least 1 under policy ",
                     Policy::name);
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
  // What bounds the lists at all times, and after end_segment; 0: nothing.
  index_t capacity() const { return cache_.grows() ? 0 : config_.capacity; }
  index_t segment_capacity() const { return Policy::bounded ? config_.capacity : 0; }
  index_t lists() const { return config_.kv_heads; }
  std::vector<index_t> live(const state& s, index_t list) const { return cache_.live(s, list); }
  bool valid(const state& s) const { return cache_.valid(s); }

  state init(place where = {}) const { return cache_.init(where); }
  // A cache that is bounded at all times has its room, unless its store shares it with copies of the state.
  bool reserve(state& s, index_t n) const {
    cache_.reserve(s, n);
    return true;
  }
  // The boundary at which trigger::segment acts. It may allocate.
  void end_segment(context& ctx, state& s) const
    requires(Policy::bounded)
  {
    cache_.end_segment(ctx, s, rope_);
  }

  void step(context& ctx, state& s, row_view<const T> x, row_view<T> y) const noexcept {
    scan(ctx, s, mat_view<const T>(x), mat_view<T>(y));
  }
  void scan(context& ctx, state& s, mat_view<const T> X, mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    scan_many(ctx, {&one, 1}, X, Y);
  }
  // Projections of all lanes in one product each; attention lane by lane, of tokens together as long as none
  // makes an entry leave.
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    context::frame scratch(ctx);
    const auto Q = detail::project<Backend, T>(ctx, scratch, params_.q_proj, X),
               K = detail::project<Backend, T>(ctx, scratch, params_.k_proj, X),
               V = detail::project<Backend, T>(ctx, scratch, params_.v_proj, X);
    const auto O = scratch.template mat<T>(Y.rows(), Q.cols());
    const auto unread = scratch.template mat<T>(1, Q.cols());
    index_t x = 0, y = 0;
    for (const auto& l : lanes) {
      for (index_t t = 0, n; t < l.rows; t += n, x += n) {
        n = together(ctx, *l.state, l.rows - t);
        const index_t wanted = n - std::clamp<index_t>(l.rows - l.outs - t, 0, n);
        tokens(ctx, *l.state, Q.range(x, x + n), K.range(x, x + n), V.range(x, x + n),
               wanted > 0 || !Policy::reads_attention ? O.range(y, y + wanted) : unread);
        y += wanted;
      }
      if (const index_t n = std::min(l.rows, l.state->size); ctx.preparing && attends_together<Policy, Store>)
        attend(ctx, *l.state, 0, Q.range(x - n, x), Q.range(x - n, x), {});  // for the scratch
    }
    if (Y.rows() > 0) kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, O, Y);
  }
  // Attends as the next token would, without appending it.
  void read(context& ctx, const state& s, row_view<const T> x, row_view<T> y) const noexcept {
    context::frame scratch(ctx);
    const auto Q = detail::project<Backend, T>(ctx, scratch, params_.q_proj, mat_view<const T>(x));
    const auto O = scratch.template mat<T>(1, Q.cols());
    const index_t here = by_rank() ? s.size : s.newest + 1;
    turn(ctx, here, Q[0]);
    attend(ctx, s, here, Q, O, {});
    kernel<matmul, Backend>::template run<T>(ctx, params_.o_proj, O, mat_view<T>(y));
  }

  static std::vector<config> samples() {
    constexpr bool by_rank = Policy::bounded && !evict::ReadsQueries<Policy>;
    std::vector<config> all{
        {.d_model = 6, .heads = 3, .capacity = 1},
        {.d_model = 12, .heads = 6, .kv_heads = 2, .head_dim = 10, .capacity = 5, .rope_base = 0},
        {.d_model = 35,
         .heads = 5,
         .kv_heads = 1,
         .head_dim = 18,
         .capacity = 7,
         .pairs = rope_pairs::interleaved},
        {.d_model = 64, .heads = 2, .capacity = 16, .storage = dtype::q8_0}};
    if (!Policy::bounded) return all;
    all[1].merging = evict::merge::counted;
    all[2].positions = by_rank ? kv_positions::cache : kv_positions::stream;
    if constexpr (cache::resizable)
      all.push_back({.d_model = 10,
                     .heads = 4,
                     .kv_heads = 2,
                     .head_dim = 7,
                     .capacity = 9,
                     .rotary_dim = 4,
                     .alibi = true,
                     .when = evict::trigger::segment,
                     .merging = evict::merge::nearest});
    return all;
  }

 private:
  static config resolved(config c) {
    check(c).or_fail();
    if (c.kv_heads == 0) c.kv_heads = c.heads;
    if (c.head_dim == 0) c.head_dim = c.d_model / c.heads;
    if (c.rotary_dim == 0) c.rotary_dim = c.head_dim;
    return c;
  }
  // One more key channel: see detail/kv_merge.hpp.
  bool counted() const { return Policy::bounded && config_.merging == evict::merge::counted; }
  // Keys stored as they are; where nothing leaves, the place in the cache is that in the stream.
  bool by_rank() const { return Policy::bounded && config_.positions == kv_positions::cache; }
  // Turns every head of a row to a position.
  void turn(context& ctx, index_t position, row_view<T> row) const noexcept {
    if (rope_.pairs() == 0) return;
    context::frame scratch(ctx);
    const auto table = scratch.template row<T>(2 * rope_.pairs());
    rope_.angles(position, table);
    for (index_t c = 0; c < row.size(); c += config_.head_dim)
      rope_.template rotate<T>(table, row.data() + c);
  }
  // How many of the next `left` tokens can be taken at once: none of them makes an entry leave.
  index_t together(const context& ctx, const state& s, index_t left) const {
    if (!attends_together<Policy, Store> || ctx.preparing) return 1;
    return cache_.grows() ? left : std::clamp<index_t>(config_.capacity - s.size, 1, left);
  }
  // O: the answers of the last tokens. No token but the last may make an entry leave, or be asked what it
  // attended to.
  void tokens(context& ctx, state& s, mat_view<T> Q, mat_view<T> K, mat_view<T> V,
              mat_view<T> O) const noexcept {
    context::frame scratch(ctx);
    const index_t unread = Q.rows() - O.rows();
    index_t here = 0;
    for (index_t t = 0; t < Q.rows(); ++t) {
      if (t > 0) cache_.remember(s, {});
      here = append(ctx, s, Q[t], K[t], V[t], t >= unread);
    }
    const auto P = cache_.attention_room(ctx, scratch, s);
    if (O.rows() > 0) attend(ctx, s, here, Q.range(unread, Q.rows()), O, P);
    cache_.remember(s, P);
    cache_.settle(ctx, s, rope_);
  }
  // Stores a token, turns its query if it attends; the position (or place) from which it does.
  index_t append(context& ctx, state& s, row_view<T> q, row_view<T> k, row_view<T> v,
                 bool attends) const noexcept {
    context::frame scratch(ctx);
    if (!by_rank()) turn(ctx, s.newest + 1, k);
    cache_.append(s, with_channel(scratch, mat_view<T>(k), T(0)).data(), v.data());
    cache_.template observe<evict::queries::plain>(s, q);
    const index_t here = by_rank() ? s.size - 1 : s.newest;
    if (attends || evict::queries_of<Policy>() == evict::queries::turned) turn(ctx, here, q);
    cache_.template observe<evict::queries::turned>(s, q);
    return here;
  }
  // Every head of every row with the channel that merging adds, if it does.
  mat_view<T> with_channel(context::frame& scratch, mat_view<T> X, T last) const noexcept {
    return counted() ? widened_heads(scratch, X, config_.head_dim, last) : X;
  }
  // Rows of Q are of consecutive tokens, the last one at position (or place) `here`.
  void attend(context& ctx, const state& s, index_t here, mat_view<T> Q, mat_view<T> O,
              mat_view<T> P) const noexcept {
    context::frame scratch(ctx);
    const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
    attend_cache<Backend, T>(ctx, cache_, s, by_rank() ? &rope_ : nullptr, ranks_.view(), scale,
                             config_.heads, with_channel(scratch, Q, static_cast<T>(1 / scale)), O, P,
                             {slopes_.view(), {}, here});
  }

  config config_;
  params params_;
  cache cache_;
  rope rope_;
  buffer<T> ranks_;  // of cosines and sines; empty unless by_rank()
  buffer<double> slopes_;
};

}  // namespace mneme::inline MNEME_ABI
