// SPDX-License-Identifier: Apache-2.0
// A Llama-shaped language model from a GGUF file, built of mneme memories, with the cache chosen at run time.
#pragma once
#include <mneme/core/any_memory.hpp>
#include <mneme/core/weight.hpp>

#include <memory>
#include <string>
#include <vector>

#include "tokenizer.hpp"

namespace mneme_stream {

using mneme::index_t, mneme::weight;

// Token ids in, logits out: any_memory keeps the program independent of policy and store.
using language_model = mneme::any_memory<float, mneme::token_id>;

struct llama_shape {
  index_t layers, width, hidden, heads, kv_heads, context, vocabulary;
  double rope_base, epsilon;
};
struct llama_weights;  // llama.hpp

// How the caches of all layers are kept.
struct cache_options {
  std::string policy = "full", store = "f32";
  index_t capacity = 0;          // 0 under a policy without one
  index_t segment = 0;           // evict at every segment-th token; 0: after every token
  bool cache_positions = false;  // rotary positions counted within the cache
  bool merge = false;            // what leaves is merged into its nearest survivor
};

// How matrices are kept: in the mapped file alone, or once more in memory, in the order in which products
// read them (about 1.7 times as fast).
enum class factors { mapped, interleaved };
// Whether precision::fast differs from exact in this build.
bool fast_products();

// Weights of one file, mapped and shared by every model that is built from them.
class checkpoint {
 public:
  // Throws mneme::error, one line, if the file cannot be used: missing, damaged, another architecture, an
  // unsupported tensor type, a tensor of the wrong shape.
  explicit checkpoint(const std::string& path, factors keep = factors::interleaved);

  const llama_shape& shape() const { return shape_; }
  const llama_weights& weights() const { return *weights_; }
  const vocabulary& tokens() const { return tokens_; }
  // The token that ends an answer.
  token_id end_of_text() const { return end_of_text_; }
  // Hash of all weights: a state of another checkpoint is refused.
  const std::string& fingerprint() const { return fingerprint_; }

  // The model with one cache per layer. Throws mneme::error naming an unknown policy or store, a pair that is
  // not offered, or a capacity < 1 under a policy that needs one.
  language_model with_cache(const cache_options& cache) const;

  static std::vector<std::string> policies();
  static std::vector<std::string> stores();

 private:
  llama_shape shape_{};
  vocabulary tokens_;
  token_id end_of_text_ = 0;
  std::string fingerprint_;
  std::shared_ptr<const llama_weights> weights_;
};

}  // namespace mneme_stream
