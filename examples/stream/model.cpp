// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <mneme/io/gguf.hpp>
#include <mneme/io/safetensors.hpp>
#include <mneme/math/interleave.hpp>

#include <algorithm>

#include "caches.hpp"
#include "llama.hpp"

namespace mneme_stream {

namespace {

llama_shape read_shape(const mneme::gguf_file& file) {
  const auto architecture = file.get<std::string>("general.architecture").value();
  if (architecture != "llama")
    mneme::fail(mneme::message(file.name(), ": architecture is ", architecture, ", expected llama"));
  const auto size = [&](const char* key) { return index_t{file.get<std::uint32_t>(key).value()}; };
  const auto number = [&](const char* key) { return double{file.get<float>(key).value()}; };
  return {.layers = size("llama.block_count"),
          .width = size("llama.embedding_length"),
          .hidden = size("llama.feed_forward_length"),
          .heads = size("llama.attention.head_count"),
          .kv_heads = size("llama.attention.head_count_kv"),
          .context = size("llama.context_length"),
          .vocabulary = size("llama.vocab_size"),
          .rope_base = number("llama.rope.freq_base"),
          .epsilon = number("llama.attention.layer_norm_rms_epsilon")};
}

// A matrix that rows are multiplied with.
weight read_factor(const mneme::gguf_file& file, const std::string& name, factors keep) {
  weight w = file.tensor(name).value();
  return keep == factors::interleaved ? mneme::interleaved(std::move(w)) : w;
}

llama_layer_weights read_layer(const mneme::gguf_file& file, index_t i, factors keep) {
  const auto name = [&](const char* part) { return "blk." + std::to_string(i) + "." + part + ".weight"; };
  const auto vector = [&](const char* part) { return file.tensor(name(part)).value(); };
  const auto factor = [&](const char* part) { return read_factor(file, name(part), keep); };
  return {.attention_norm = {vector("attn_norm")},
          .feed_forward_norm = {vector("ffn_norm")},
          .attention = {factor("attn_q"), factor("attn_k"), factor("attn_v"), factor("attn_output")},
          .feed_forward = {factor("ffn_gate"), factor("ffn_up"), factor("ffn_down")}};
}

// In the order of their first appearance.
std::vector<std::string> names_of(const char* cache_kind::* name) {
  std::vector<std::string> names;
  for (const cache_kind& kind : cache_kinds())
    if (std::find(names.begin(), names.end(), kind.*name) == names.end()) names.emplace_back(kind.*name);
  return names;
}

}  // namespace

bool fast_products() {
  return mneme::kernel<mneme::matmul, mneme::native>::multiplies_bf16(mneme::dtype::q8_0);
}

checkpoint::checkpoint(const std::string& path, factors keep) {
  const mneme::gguf_file file = mneme::gguf_file::open(path).value();
  shape_ = read_shape(file);
  tokens_ = {file.get<std::vector<std::string>>("tokenizer.ggml.tokens").value(),
             file.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type").value(),
             file.get<std::vector<std::string>>("tokenizer.ggml.merges").value()};
  end_of_text_ = static_cast<token_id>(file.get<std::uint32_t>("tokenizer.ggml.eos_token_id").value());

  auto w = std::make_shared<llama_weights>();
  w->embedding = {file.tensor("token_embd.weight").value()};
  w->norm = {file.tensor("output_norm.weight").value()};
  w->output.weight =
      read_factor(file, file.contains("output.weight") ? "output.weight" : "token_embd.weight", keep);
  for (index_t i = 0; i < shape_.layers; ++i) w->layers.items.push_back(read_layer(file, i, keep));
  fingerprint_ = mneme::weights_fingerprint(*w);
  weights_ = std::move(w);
  with_cache({});  // checks every shape now rather than at first use
}

std::vector<std::string> checkpoint::policies() { return names_of(&cache_kind::policy); }
std::vector<std::string> checkpoint::stores() { return names_of(&cache_kind::store); }

language_model checkpoint::with_cache(const cache_options& cache) const {
  for (const cache_kind& kind : cache_kinds())
    if (cache.policy == kind.policy && cache.store == kind.store)
      return llama<float>(shape_, *weights_, cache, kind.make);
  std::string offered;
  for (const cache_kind& kind : cache_kinds())
    if (cache.policy == kind.policy) offered += (offered.empty() ? "" : ", ") + std::string(kind.store);
  if (offered.empty()) mneme::fail(mneme::message("unknown policy ", cache.policy));
  mneme::fail(mneme::message("policy ", cache.policy, " is not offered over store ", cache.store,
                             ", only over ", offered));
}

}  // namespace mneme_stream
