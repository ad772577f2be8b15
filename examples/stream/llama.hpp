// SPDX-License-Identifier: Apache-2.0
// The Llama architecture as a composition of memories.
#pragma once
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/layer/embedding.hpp>
#include <mneme/layer/linear.hpp>
#include <mneme/layer/rms_norm.hpp>
#include <mneme/layer/swiglu.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "model.hpp"

namespace mneme_stream {

struct llama_layer_weights {
  mneme::rms_norm_params attention_norm, feed_forward_norm;
  mneme::kv_attention_params attention;
  mneme::swiglu_params feed_forward;
  static constexpr void fields(auto&& f, auto&... w) {
    f("attn_norm", w.attention_norm...);
    f("ffn_norm", w.feed_forward_norm...);
    f("attn", w.attention...);
    f("ffn", w.feed_forward...);
  }
};
struct llama_weights {
  mneme::embedding_params embedding;  // also the output matrix, where the file has none of its own
  mneme::rms_norm_params norm;
  mneme::linear_params output;
  mneme::many<llama_layer_weights> layers;
  static constexpr void fields(auto&& f, auto&... w) {
    f("token_embd", w.embedding...);
    f("output_norm", w.norm...);
    f("output", w.output...);
    f("blk", w.layers...);
  }
};

// Makes the attention of one layer, with its policy and store.
template <class T>
using make_attention = mneme::any_memory<T> (*)(const mneme::kv_attention_config&,
                                                const mneme::kv_attention_params&);

// Token ids in, logits out; one cache per layer. The weights are shared, not copied. Attention is erased, so
// that all else is compiled once.
template <class T>
mneme::any_memory<T, token_id> llama(const llama_shape& s, const llama_weights& weights,
                                     const cache_options& cache, make_attention<T> attention_of) {
  using namespace mneme;
  const rms_norm_config norm{.d_model = s.width, .epsilon = s.epsilon};
  const kv_attention_config attention{
      .d_model = s.width,
      .heads = s.heads,
      .kv_heads = s.kv_heads,
      .capacity = cache.capacity,
      .rope_base = s.rope_base,
      .pairs = rope_pairs::interleaved,
      .positions = cache.cache_positions ? kv_positions::cache : kv_positions::stream,
      .when = cache.segment > 0 ? evict::trigger::segment : evict::trigger::token,
      .merging = cache.merge ? evict::merge::counted : evict::merge::none};
  const auto block = [&](const llama_layer_weights& w) {
    return chain(residual(chain(rms_norm<T>(norm, w.attention_norm), attention_of(attention, w.attention))),
                 residual(chain(rms_norm<T>(norm, w.feed_forward_norm),
                                swiglu<T>({.d_model = s.width, .d_hidden = s.hidden}, w.feed_forward))));
  };
  std::vector<decltype(block(weights.layers.items.front()))> blocks;
  for (const llama_layer_weights& w : weights.layers.items) blocks.push_back(block(w));
  return chain(embedding<T>({.vocabulary = s.vocabulary, .d_model = s.width}, weights.embedding),
               stack(std::move(blocks)), rms_norm<T>(norm, weights.norm),
               linear<T>({.d_in = s.width, .d_out = s.vocabulary}, weights.output));
}

}  // namespace mneme_stream
