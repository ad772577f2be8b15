// SPDX-License-Identifier: Apache-2.0
// L17 on a few compositions that nothing erases: models as users write them.
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>
#include <mneme/layer/rms_norm.hpp>
#include <mneme/layer/swiglu.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/memory/product_key.hpp>
#include <mneme/memory/selective_ssm.hpp>

#include "subject.hpp"

namespace mneme_test {
namespace {

constexpr std::uint64_t seed = 31;

// Three memories of different kinds, as in README.
template <class T, class... Backend>
auto three_kinds() {
  return mneme::chain(
      mneme::residual(mneme::selective_ssm<T, Backend...>({.d_model = 12, .d_state = 5}, seed)),
      mneme::residual(mneme::kv_attention<T, mneme::evict::sinks, mneme::store::contiguous<mneme::store::f32>,
                                          Backend...>({.d_model = 12, .heads = 2, .capacity = 6}, seed)),
      mneme::product_key<T, Backend...>({.d_model = 12, .sub_keys = 7, .top_k = 3}, seed));
}
// A small language model: token ids to scores.
template <class T, class... Backend>
auto language_model() {
  using attention =
      mneme::kv_attention<T, mneme::evict::full, mneme::store::contiguous<mneme::store::f32>, Backend...>;
  const auto block = [](std::uint64_t i) {
    return mneme::chain(
        mneme::residual(mneme::chain(mneme::rms_norm<T, Backend...>({.d_model = 10}, i),
                                     attention({.d_model = 10, .heads = 5, .kv_heads = 1}, i))),
        mneme::residual(mneme::chain(mneme::rms_norm<T, Backend...>({.d_model = 10}, i),
                                     mneme::swiglu<T, Backend...>({.d_model = 10, .d_hidden = 17}, i))));
  };
  return mneme::chain(mneme::embedding<T, Backend...>({.vocabulary = 9, .d_model = 10}, seed),
                      mneme::stack(std::vector{block(1), block(2), block(3)}),
                      mneme::linear<T, Backend...>({.d_in = 10, .d_out = 9}, seed));
}

template <class T>
void add(std::vector<any_subject>& all) {
  all.push_back(
      make_subject("three kinds of memory", three_kinds<T>(), three_kinds<double, mneme::reference>()));
  all.push_back(
      make_subject("a language model", language_model<T>(), language_model<double, mneme::reference>()));
}

}  // namespace

void add_concrete_compositions(std::vector<any_subject>& all) {
  add<float>(all);
  add<double>(all);
}

}  // namespace mneme_test
