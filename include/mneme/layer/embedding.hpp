// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../backend/dispatch.hpp"
#include "../core/row_wise.hpp"
#include "../math/decode.hpp"
#include "../math/tensor_plan.hpp"

namespace mneme::inline MNEME_ABI {

struct embedding_config {
  index_t vocabulary = 1, d_model = 1;
  dtype storage = dtype::f32;  // of the seeded table; a loaded table keeps its own
};
struct embedding_params {
  mneme::weight weight;  // [vocabulary, d_model], any storage type
  static constexpr void fields(auto&& f, auto&... p) { f("weight", p.weight...); }
};

// Embedding: token ids to rows.
//   y = E[x]                          x [1] (an id) -> y [d_model]
// Cost: one row read per token. State: none. An id outside [0, vocabulary) gives a row of zeros: step cannot
// fail, and ids are checked where text is turned into ids.
template <class T, class Backend = native>
class embedding : public row_wise<embedding<T, Backend>, T, token_id> {
 public:
  using config = embedding_config;
  using params = embedding_params;
  static constexpr bool row_stable = true;

  explicit embedding(config c, std::uint64_t seed = 0)
      : embedding(c, tensors(checked_config<embedding>(c)).seeded(seed)) {}
  // Fails if a tensor has another shape than the config asks for.
  embedding(config c, params p)
      : config_(checked_config<embedding>(c)), params_(tensors(c).checked(std::move(p))) {}
  static status check(const config& c) {
    if (c.vocabulary < 1 || c.d_model < 1)
      return message("embedding: vocabulary is ", c.vocabulary, " and d_model is ", c.d_model,
                     ", expected at least 1");
    if (c.d_model % info(c.storage).block != 0)
      return message("embedding: d_model is ", c.d_model, ", expected a multiple of ", info(c.storage).block,
                     " (", info(c.storage).name, ")");
    return {};
  }

  static tensor_plan<params> tensors(const config& c) {
    tensor_plan<params> t;
    t.add(&params::weight, {c.vocabulary, c.d_model}, starts::normal(1), c.storage);
    return t;
  }

  index_t d_in() const { return 1; }
  index_t d_out() const { return config_.d_model; }
  index_t vocabulary() const { return config_.vocabulary; }
  const config& configuration() const { return config_; }
  params& weights() { return params_; }
  const params& weights() const { return params_; }

  void map(context&, mat_view<const token_id> X, mat_view<T> Y) const noexcept {
    const weight& E = params_.weight;
    for (index_t r = 0; r < X.rows(); ++r) {
      const token_id id = X[r][0];
      if (id >= 0 && id < config_.vocabulary)
        decode_row<typename arch_of<Backend>::type>(E.type(), E.row(id), E.cols(), Y[r].data());
      else
        std::fill(Y[r].begin(), Y[r].end(), T(0));
    }
  }

  static std::vector<config> samples() {
    return {{.vocabulary = 7, .d_model = 5},
            {.vocabulary = 11, .d_model = 64, .storage = dtype::q8_0},
            {.vocabulary = 3, .d_model = 33, .storage = dtype::bf16}};
  }

 private:
  config config_;
  params params_;
};

}  // namespace mneme::inline MNEME_ABI
