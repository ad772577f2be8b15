// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/cpu/causal_conv.hpp"
#include "../backend/cpu/embedding_bag.hpp"
#include "../backend/cpu/matmul.hpp"
#include "../backend/cpu/rms_norm.hpp"
#include "../math/bias.hpp"
#include "detail/mixer.hpp"
#include "detail/ngram_hash.hpp"

namespace mneme::inline MNEME_ABI {

struct engram_config {
  index_t d_model = 1;
  index_t vocabulary = 1;                // token ids
  std::vector<token_id> token_map = {};  // [vocabulary] ids of equal text to one; empty: the identity
  token_id pad_id = 0;                   // stands before the first token, and for ids outside
  std::vector<index_t> engram_vocab_size = {1024, 1024};  // least rows of a table, for n = 2, 3, ..
  index_t n_embed_per_ngram = 512;                        // width of what the tables of one n give together
  index_t n_head_per_ngram = 8;                           // tables for every n
  index_t layer = 0;                           // Engram layers before this one: their primes are taken
  std::uint64_t hash_seed = 0;                 // of the multipliers, with `layer`
  std::vector<std::int64_t> multipliers = {};  // [longest n], odd; empty: drawn
  index_t kernel_size = 4;                     // of the convolution, whose dilation is the longest n
  double epsilon = 1.1920929e-7;               // of the norms in the gate
  double conv_epsilon = 1e-5;                  // of the norm before the convolution
  dtype storage = dtype::f32;                  // of the seeded tables; loaded ones keep theirs

  index_t longest() const { return static_cast<index_t>(engram_vocab_size.size()) + 1; }
  index_t tables() const { return (longest() - 1) * n_head_per_ngram; }
  index_t table_width() const { return n_embed_per_ngram / n_head_per_ngram; }
};
struct engram_params {
  weight embedding;               // [rows of all tables, width of a table], any storage type
  weight value_proj, value_bias;  // [d_model, De], [d_model]
  weight key_proj, key_bias;      // [d_model, De], [d_model]
  weight norm1, norm2;            // [d_model]: of keys, of hidden rows
  weight conv_norm, conv;         // [d_model], [d_model, 1, kernel_size]
  static constexpr void fields(auto&& f, auto&... p) {
    f("multi_head_embedding.embedding.weight", p.embedding...);
    f("value_proj.weight", p.value_proj...);
    f("value_proj.bias", p.value_bias...);
    f("key_projs.0.weight", p.key_proj...);
    f("key_projs.0.bias", p.key_bias...);
    f("norm1.0.weight", p.norm1...);
    f("norm2.0.weight", p.norm2...);
    f("short_conv.norms.0.weight", p.conv_norm...);
    f("short_conv.conv.weight", p.conv...);
  }
};

// Engram: hashed tables of n-grams, read under the last token ids, gated, smoothed by a short convolution.
//   e = the rows that the last n = 2, 3, .. ids address in all tables (detail/ngram_hash.hpp), side by side
//   s = rms_norm1(W_k e + b_k) . rms_norm2(h) / sqrt(d_model)
//   u = sigmoid(sign(s) sqrt(max(|s|, 1e-6))) (W_v e + b_v)
//   y = u + silu(conv(rms_norm(u)))           conv: depthwise, kernel_size taps that are the longest n apart
//   x [1] (an id) -> y [d_model]    h, u [d_model]    e [De], De = (longest n - 1) n_embed_per_ngram
// Cost per token: 4 De d_model + 2 kernel_size d_model flops; reads De stored numbers of the tables, in rows
// that depend on ids alone. State: the last (longest n - 1) ids and (kernel_size - 1) (longest n) d_model
// elements of T. Row-stable. Tables may be of any size: weights of a mapped file are read in place.
// Source: DeepSeek-AI, Peking University, "Conditional Memory via Scalable Lookup: A New Axis of Sparsity for
// Large Language Models", 2026; hashing, gate and tensor names as Engram of the published demonstration with
// one branch.
// Deviations: a memory whose input is ids knows no hidden row h. scan and step take norm2.weight for
// rms_norm2(h), a learned query, which is h = 1 in the source; `augment` takes the rows of h. Ids outside of
// the vocabulary count as pad_id. Drawn multipliers come from our generator: put those of a checkpoint into
// `multipliers`.
template <class T, class Backend = default_backend<embedding_bag>>
class engram : public lane_wise<engram<T, Backend>, T, token_id> {
 public:
  using config = engram_config;
  using params = engram_params;
  static constexpr bool row_stable = true;

  struct state {
    buffer<token_id> ids;  // [longest n - 1] compressed, oldest first
    buffer<T> conv;        // [kernel_size - 1, longest n, d_model] normed u, a lane for every phase
    index_t phase = 0;     // tokens fed, modulo the longest n: where the next row goes
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("ids", s.ids...);
      f("conv", s.conv...);
      f("phase", s.phase...);
    }
  };

  explicit engram(config c, std::uint64_t seed = 0)
      : config_(checked_config<engram>(c)), params_(tensors(c).seeded(seed)) {
    derive();
  }
  // Fails if a tensor has another shape than the config asks for.
  engram(config c, params p) : config_(checked_config<engram>(c)), params_(tensors(c).checked(std::move(p))) {
    derive();
  }
  static status check(const config& c) {
    if (const status sizes = expect_sizes("engram", {{"d_model", c.d_model},
                                                     {"vocabulary", c.vocabulary},
                                                     {"n_head_per_ngram", c.n_head_per_ngram},
                                                     {"kernel_size", c.kernel_size},
                                                     {"layer", c.layer, 0}});
        !sizes)
      return sizes;
    if (const status h = detail::check_ngram_hash("engram", c); !h) return h;
    if (c.n_embed_per_ngram < 1 || c.n_embed_per_ngram % c.n_head_per_ngram != 0 ||
        c.table_width() % info(c.storage).block != 0)
      return message("engram: n_embed_per_ngram is ", c.n_embed_per_ngram,
                     ", expected a multiple of n_head_per_ngram, ", c.n_head_per_ngram, ", times ",
                     info(c.storage).block, " (", info(c.storage).name, ")");
    if (!(c.epsilon >= 0) || !(c.conv_epsilon >= 0))
      return message("engram: epsilon is ", c.epsilon, " and conv_epsilon is ", c.conv_epsilon,
                     ", expected at least 0");
    return {};
  }
  static tensor_plan<params> tensors(const config& c) {
    const index_t D = c.d_model, De = c.tables() * c.table_width();
    tensor_plan<params> t;
    t.add(&params::embedding, {detail::make_ngram_hash(c).rows(), c.table_width()}, starts::normal(1),
          c.storage);
    t.add(&params::value_proj, {D, De});
    t.add(&params::value_bias, {D}, starts::uniform(De));
    t.add(&params::key_proj, {D, De});
    t.add(&params::key_bias, {D}, starts::uniform(De));
    t.add(&params::norm1, {D}, starts::constant(1));
    t.add(&params::norm2, {D}, starts::constant(1));
    t.add(&params::conv_norm, {D}, starts::constant(1));
    t.add(&params::conv, {D, 1, c.kernel_size});
    return t;
  }

  index_t d_in() const { return 1; }
  index_t d_out() const { return config_.d_model; }
  index_t vocabulary() const { return config_.vocabulary; }
  const config& configuration() const { return config_; }
  // Read only: the kernels read tables derived from them. To replace them, construct anew.
  const params& weights() const { return params_; }
  const detail::ngram_hash& hash() const { return hash_; }

  state init(place where = {}) const {
    const index_t D = config_.d_model, N = config_.longest();
    return {buffer<token_id>(N - 1, hash_.pad, where),
            buffer<T>((config_.kernel_size - 1) * N * D, T(0), where), 0};
  }
  bool valid(const state& s) const {
    const index_t D = config_.d_model, N = config_.longest();
    for (const token_id id : s.ids)
      if (id < 0 || id > detail::highest_id(config_)) return false;
    return s.ids.size() == N - 1 && s.conv.size() == (config_.kernel_size - 1) * N * D && s.phase >= 0 &&
           s.phase < N;
  }

  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const token_id> X,
                 mat_view<T> Y) const noexcept {
    run(ctx, lanes, X, {}, Y);
  }
  // As scan, with the hidden rows H [T, d_model] of the host model in the gate; its next hidden rows are H +
  // Y.
  void augment(context& ctx, state& s, mat_view<const token_id> X, mat_view<const T> H,
               mat_view<T> Y) const noexcept {
    const lane<state> one{&s, X.rows(), Y.rows()};
    run(ctx, {&one, 1}, X, H, Y);
  }

  static std::vector<config> samples() {
    return {{.d_model = 5,
             .vocabulary = 7,
             .engram_vocab_size = {11, 13},
             .n_embed_per_ngram = 6,
             .n_head_per_ngram = 2},
            {.d_model = 17,
             .vocabulary = 6,
             .token_map = {0, 1, 1, 2, 3, 0},
             .pad_id = 5,
             .engram_vocab_size = {9},
             .n_embed_per_ngram = 9,
             .n_head_per_ngram = 3,
             .layer = 1,
             .kernel_size = 1,
             .storage = dtype::bf16},
            {.d_model = 33,
             .vocabulary = 50,
             .engram_vocab_size = {30, 20, 40},
             .n_embed_per_ngram = 32,
             .n_head_per_ngram = 1,
             .kernel_size = 3,
             .storage = dtype::q8_0}};
  }

 private:
  using arch = typename arch_of<Backend>::type;

  void derive() {
    hash_ = detail::make_ngram_hash(config_);
    taps_ = transposed<T>(decoded<T>(params_.conv));
    query_ = decoded<T>(params_.norm2);
  }

  mat_view<T> affine(context& ctx, context::frame& scratch, const weight& W, const weight& b,
                     mat_view<const T> X) const noexcept {
    const auto Y = detail::project<Backend, T>(ctx, scratch, W, X);
    add_bias<arch>(ctx, b, Y);
    return Y;
  }
  mat_view<T> normed(context::frame& scratch, const weight& w, double epsilon,
                     mat_view<const T> X) const noexcept {
    const auto Y = scratch.template mat<T>(X.rows(), X.cols());
    kernel<rms_normalise, Backend>::template run<T>(w, epsilon, X, Y);
    return Y;
  }

  void run(context& ctx, std::span<const lane<state>> lanes, mat_view<const token_id> X, mat_view<const T> H,
           mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const index_t R = X.rows(), D = config_.d_model;
    const auto e = gather(ctx, scratch, lanes, X);
    const auto u = affine(ctx, scratch, params_.value_proj, params_.value_bias, e);
    const auto k = normed(scratch, params_.norm1, config_.epsilon,
                          affine(ctx, scratch, params_.key_proj, params_.key_bias, e));
    const auto q = H.rows() > 0 ? mat_view<const T>(normed(scratch, params_.norm2, config_.epsilon, H))
                                : mat_view<const T>(data<T>(query_), R, D, 0);  // one row for all
    for (index_t r = 0; r < R; ++r) {
      const T s = dot<arch>(D, k[r].data(), q[r].data()) / std::sqrt(static_cast<T>(D));
      const T root = std::sqrt(std::max(std::abs(s), T(1e-6)));
      const T gate = sigmoid(s > 0 ? root : s < 0 ? -root : s);
      map_row<arch>(D, u[r].data(), u[r].data(), [gate]<class P>(P a) { return a * P(gate); });
    }
    const auto c = normed(scratch, params_.conv_norm, config_.conv_epsilon, u);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      const index_t end = row + l.rows, skip = l.rows - l.outs;
      convolve(ctx, *l.state, c.range(row, end), Y.range(out, out + l.outs));
      for (index_t t = skip; t < l.rows; ++t)
        axpy<arch>(D, T(1), u[row + t].data(), Y[out + t - skip].data());
    });
  }
  // Rows of all tables, side by side.
  mat_view<T> gather(context& ctx, context::frame& scratch, std::span<const lane<state>> lanes,
                     mat_view<const token_id> X) const noexcept {
    const index_t tables = hash_.tables(), width = config_.table_width(), rows = X.rows() * tables;
    const auto ids = scratch.template mat<index_t>(X.rows(), tables);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t) {
      hash_.addresses(l.state->ids, X.range(row, row + l.rows), ids.range(row, row + l.rows));
    });
    const auto whole = scratch.template row<T>(rows);
    std::fill(whole.begin(), whole.end(), T(1));
    const auto e = scratch.template mat<T>(X.rows(), tables * width);
    kernel<embedding_bag, Backend>::template run<T>(ctx, params_.embedding, {ids.data(), rows, 1},
                                                    {whole.data(), rows, 1}, {e.data(), rows, width});
    return e;
  }
  // A convolution whose taps are N rows apart is N convolutions, each of every N-th row.
  void convolve(context& ctx, state& s, mat_view<const T> C, mat_view<T> Y) const noexcept {
    const index_t D = config_.d_model, N = config_.longest(), K = config_.kernel_size, rows = C.rows();
    const causal_conv_taps<T> taps{.w = {data<T>(taps_), K, D}, .silu = true};
    const auto every = [N](auto all, index_t from, index_t to) {
      return decltype(all)(all.data() + from * all.stride(), (to - from + N - 1) / N, all.cols(),
                           N * all.stride());
    };
    for (index_t i = 0; i < std::min(N, rows); ++i) {
      const index_t skip = rows - Y.rows(), first = i < skip ? i + (skip - i + N - 1) / N * N : i;
      const mat_view<T> past(s.conv.data() + (s.phase + i) % N * D, K - 1, D, N * D);
      kernel<causal_conv, Backend>::template run<T>(ctx, taps, every(C, i, rows), past,
                                                    every(Y, std::min(first, rows) - skip, Y.rows()));
    }
    s.phase = (s.phase + rows) % N;
  }

  config config_;
  params params_;
  detail::ngram_hash hash_;
  weight taps_, query_;  // tables of T: [kernel_size, d_model], [1, d_model]
};

}  // namespace mneme::inline MNEME_ABI
