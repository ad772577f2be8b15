// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "detail/product_key_lookup.hpp"
#include "detail/touched_rows.hpp"

namespace mneme::inline MNEME_ABI {

struct writable_product_key_config {
  index_t d_model = 1;
  index_t d_value = 0;  // width of values and output; 0: d_model
  index_t heads = 1;
  index_t sub_keys = 128;  // n: per half; n^2 values
  index_t top_k = 8;       // values read and written per head
  index_t d_key = 0;  // width of a query half and of a sub-key; 0: d_model / (2 heads) rounded up, at least 2
  bool query_bias = false;
  product_key_norm norm = product_key_norm::layer;
  double epsilon = 1e-5;       // of the layer norm
  double learning_rate = 1;    // 0 to 1; 0: a product_key
  dtype storage = dtype::f32;  // of the seeded values; loaded values keep their own

  index_t value_width() const { return d_value > 0 ? d_value : d_model; }
  index_t key_width() const { return d_key > 0 ? d_key : detail::product_key_width(d_model, heads); }
};
struct writable_product_key_params {
  weight query_proj, query_proj_bias;  // [2 H dk, d_model], rows (head, half, dk); [2 H dk] or empty
  weight norm, norm_bias;              // [dk], shared by heads and halves; or empty
  weight keys;                         // [2 H, n, dk], heads outermost, then halves
  weight values;                       // [n^2, dv], any storage type: where every stream starts
  weight value_proj;                   // [dv, d_model]
  weight gate_proj, gate_proj_bias;    // [1, d_model], [1]
  static constexpr void fields(auto&& f, auto&... p) {
    f("query_proj.weight", p.query_proj...);
    f("query_proj.bias", p.query_proj_bias...);
    f("norm.weight", p.norm...);
    f("norm.bias", p.norm_bias...);
    f("keys", p.keys...);
    f("values.weight", p.values...);
    f("value_proj.weight", p.value_proj...);
    f("gate_proj.weight", p.gate_proj...);
    f("gate_proj.bias", p.gate_proj_bias...);
  }
};

// Product-key memory with fast weights: every stream writes the values that it reads.
//   k: the softmax weights of the selected values of all heads, as in product_key, a sparse row of n^2
//   first the token before, with its k, r and g, learns what follows it, in a delta step:
//     Delta <- Delta + learning_rate g k (W_v x - r)^T / |k|^2
//   then  r = (V + Delta)^T k;  g = sigmoid(w x + b);  y = r
//   x [d_model] -> y, r [d_value]    V, Delta [n^2, d_value], of which the state holds the written rows
// A write moves the answer of its query by the share learning_rate g of the error, whatever the weights.
// Cost per token: 4 H dk d_model + 4 H n dk + 2 d_value d_model + 6 H top_k d_value flops; reads the sub-keys
// and H top_k values, reads and writes as many rows of the state. State: what the last token left, 2 H top_k
// + d_value numbers; for every row that was written, d_value elements of T and 24 to 40 bytes: at most n^2
// rows. Row-stable. `read` sees all writes but that of the last token, which waits for the next.
// Source: Zhao, Jones, "Fast-weight Product Key Memory", 2026: targets one token ahead, the gate of the
// reading token, sparse writes.
// Deviations: writes after every token, not after chunks of 256; divided by |k|^2; sub-keys are not written,
// so that addresses belong to the model; scores are inner products; heads share the values; the output is
// what was read, without projection and residual gate, so that learning_rate = 0 gives the bits of
// product_key.
template <class T, class Backend = default_backend<product_key_address>>
class writable_product_key : public detail::mixer<writable_product_key<T, Backend>, T, Backend,
                                                  writable_product_key_config, writable_product_key_params> {
  using base = detail::mixer<writable_product_key, T, Backend, writable_product_key_config,
                             writable_product_key_params>;
  using base::config_, base::params_, base::project;
  using typename base::arch;

 public:
  using base::base;
  using typename base::config, typename base::params;

  struct state {
    detail::touched_rows<T> written;  // Delta
    buffer<index_t> last_ids;         // [H top_k] values that the last token read; -1: none
    buffer<T> last_write;             // [H top_k] learning_rate g k / |k|^2 of that token
    buffer<T> last_read;              // [d_value] its r
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) {
      f("written", s.written...);
      f("last_ids", s.last_ids...);
      f("last_write", s.last_write...);
      f("last_read", s.last_read...);
    }
  };

  static status check(const config& c) {
    if (!(c.learning_rate >= 0 && c.learning_rate <= 1))
      return message("writable_product_key: learning_rate is ", c.learning_rate, ", expected 0 to 1");
    return detail::check_value_lookup("writable_product_key", c);
  }
  static config resolved(const config& c) { return c; }
  static tensor_plan<params> tensors(const config& c) {
    const index_t N = c.sub_keys * c.sub_keys, dv = c.value_width();
    tensor_plan<params> t;
    detail::add_lookup_tensors(t, c);
    t.add(&params::values, {N, dv}, starts::normal(1 / std::sqrt(static_cast<double>(dv))), c.storage);
    t.add(&params::value_proj, {dv, c.d_model});
    t.add(&params::gate_proj, {1, c.d_model});
    t.add(&params::gate_proj_bias, {1}, starts::constant(0));
    return t;
  }

  index_t d_out() const { return config_.value_width(); }
  state init(place where = {}) const {
    return {detail::touched_rows<T>::none(where), buffer<index_t>(selected(), -1, where),
            buffer<T>(selected(), T(0), where), buffer<T>(d_out(), T(0), where)};
  }
  bool reserve(state& s, index_t n) const {
    const index_t all = params_.values.rows(), left = all - s.written.count();
    s.written.reserve(n > left / selected() ? all : s.written.count() + n * selected(), d_out());
    return true;
  }
  bool valid(const state& s) const {
    for (const index_t id : s.last_ids)
      if (id < -1 || id >= params_.values.rows()) return false;
    return s.last_ids.size() == selected() && s.last_write.size() == selected() &&
           s.last_read.size() == d_out() && s.written.valid(params_.values.rows(), d_out());
  }

  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const T> X,
                 mat_view<T> Y) const noexcept {
    if (X.rows() == 0) return;
    context::frame scratch(ctx);
    const auto k = recall(ctx, scratch, X);
    const auto target = project(ctx, scratch, params_.value_proj, X),
               gate = project(ctx, scratch, params_.gate_proj, X);
    add_bias<arch>(ctx, params_.gate_proj_bias, gate);
    for_lanes(lanes, [&](const auto& l, index_t row, index_t out) {
      for (index_t t = 0; t < l.rows; ++t) {
        const index_t r = row + t, unread = l.rows - l.outs;
        write(*l.state, target[r]);
        add_written(*l.state, k.ids[r], k.weights[r], k.read[r]);
        keep(*l.state, k, r, sigmoid(gate[r][0]));
        if (t >= unread) std::copy(k.read[r].begin(), k.read[r].end(), Y[out + t - unread].begin());
      }
    });
  }
  void read(context& ctx, const state& s, row_view<const T> q, row_view<T> y) const noexcept {
    context::frame scratch(ctx);
    const auto k = recall(ctx, scratch, mat_view<const T>(q));
    add_written(s, k.ids[0], k.weights[0], k.read[0]);
    std::copy(k.read[0].begin(), k.read[0].end(), y.begin());
  }

  static std::vector<config> samples() {
    return {{.d_model = 7, .sub_keys = 5, .top_k = 3},
            {.d_model = 13, .d_value = 37, .heads = 3, .sub_keys = 4, .top_k = 5, .query_bias = true},
            {.d_model = 16,
             .d_value = 32,
             .heads = 2,
             .sub_keys = 17,
             .top_k = 4,
             .d_key = 9,
             .norm = product_key_norm::none,
             .learning_rate = 0.25,
             .storage = dtype::q8_0}};
  }

 private:
  struct recalled {
    mat_view<index_t> ids;  // [R, H top_k]
    mat_view<T> weights;    // [R, H top_k]
    mat_view<T> read;       // [R, d_value]: of V alone
  };
  index_t selected() const { return config_.heads * config_.top_k; }

  recalled recall(context& ctx, context::frame& scratch, mat_view<const T> X) const noexcept {
    const auto Q = detail::lookup_queries<Backend, T>(ctx, scratch, params_, config_.epsilon, X);
    const recalled k{scratch.template mat<index_t>(X.rows(), selected()),
                     scratch.template mat<T>(X.rows(), selected()),
                     scratch.template mat<T>(X.rows(), d_out())};
    kernel<product_key_address, Backend>::template run<T>(ctx, params_.keys, config_.top_k,
                                                          product_key_gate::softmax, Q, k.ids, k.weights);
    kernel<embedding_bag, Backend>::template run<T>(ctx, params_.values, k.ids, k.weights, k.read);
    return k;
  }
  // r += Delta^T k
  void add_written(const state& s, row_view<const index_t> ids, row_view<const T> k,
                   row_view<T> r) const noexcept {
    for (index_t m = 0; m < ids.size(); ++m)
      if (ids[m] >= 0)
        if (const T* delta = s.written.find(ids[m], r.size())) axpy<arch>(r.size(), k[m], delta, r.data());
  }
  // The last token learns its target.
  void write(state& s, row_view<T> target) const noexcept {
    axpy<arch>(target.size(), T(-1), s.last_read.data(), target.data());
    for (index_t m = 0; m < selected(); ++m)
      if (s.last_ids[m] >= 0 && s.last_write[m] != T(0))
        axpy<arch>(target.size(), s.last_write[m], target.data(),
                   s.written.touch(s.last_ids[m], target.size()));
  }
  void keep(state& s, const recalled& k, index_t r, T gate) const noexcept {
    const auto ids = k.ids[r];
    const auto weights = k.weights[r];
    T squares = 0;  // of k, where heads that selected the same value add up
    for (index_t m = 0; m < selected(); ++m) {
      squares = simd::fma(weights[m], weights[m], squares);
      for (index_t other = 0; other < m / config_.top_k * config_.top_k; ++other)
        if (ids[other] == ids[m]) squares = simd::fma(weights[m] + weights[m], weights[other], squares);
    }
    const T share = squares > 0 ? static_cast<T>(config_.learning_rate) * gate / squares : T(0);
    for (index_t m = 0; m < selected(); ++m) {
      s.last_ids[m] = ids[m];
      s.last_write[m] = share * weights[m];
    }
    std::copy(k.read[r].begin(), k.read[r].end(), s.last_read.begin());
  }
};

}  // namespace mneme::inline MNEME_ABI
