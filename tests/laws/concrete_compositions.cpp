// SPDX-License-Identifier: Apache-2.0
// L17 on a few compositions that nothing erases: models as users write them.
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/cross.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/core/compose/windowed.hpp>
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

// Attention to the latest tokens and to a prompt, a longer memory behind the window, a mixture of memories.
template <class T, class... Backend>
auto hybrid() {
  using cache =
      mneme::kv_attention<T, mneme::evict::sinks, mneme::store::contiguous<mneme::store::f32>, Backend...>;
  const auto longer = [](std::uint64_t i) {
    return mneme::selective_ssm<T, Backend...>({.d_model = 8, .d_state = 3}, i);
  };
  const cache attention({.d_model = 8, .heads = 2, .capacity = 5}, seed);
  mneme::context ctx;
  auto prompt = attention.init();
  const auto words = random_rows<float>(4, 8, 0, seed);
  matrix<T> rows(4, 8);
  for (index_t t = 0; t < 4; ++t) std::copy_n(words.view()[t].begin(), 8, rows.view()[t].begin());
  mneme::observe(attention, ctx, prompt, rows.view());
  return mneme::chain(
      mneme::parallel(mneme::windowed({.window = 5, .sinks = 1, .far_scale = 0.5}, attention, longer(1)),
                      mneme::cross(attention, prompt)),
      mneme::routed(mneme::linear<T, Backend...>({.d_in = 8, .d_out = 3}, seed), 2,
                    std::vector{longer(2), longer(3), longer(4)}));
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
  for_scalars([&]<class T>() { add<T>(all); });
  constexpr mneme::rewindable_config often{.snapshot_every = 4, .log_capacity = 12};
  all.push_back(make_subject("rewindable language model", mneme::rewindable(language_model<float>(), often),
                             language_model<double, mneme::reference>()));
  all.push_back(make_subject("hybrid", hybrid<float>(), hybrid<double, mneme::reference>()));
}

}  // namespace mneme_test
