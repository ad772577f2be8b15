// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <mneme/evict/full.hpp>
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/io/gguf.hpp>
#include <mneme/io/safetensors.hpp>
#include <mneme/store/codec/q8_0.hpp>

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

llama_layer_weights read_layer(const mneme::gguf_file& file, index_t i) {
  const auto tensor = [&](const char* name) {
    return file.tensor("blk." + std::to_string(i) + "." + name + ".weight").value();
  };
  return {.attention_norm = {tensor("attn_norm")},
          .feed_forward_norm = {tensor("ffn_norm")},
          .attention = {tensor("attn_q"), tensor("attn_k"), tensor("attn_v"), tensor("attn_output")},
          .feed_forward = {tensor("ffn_gate"), tensor("ffn_up"), tensor("ffn_down")}};
}

}  // namespace

checkpoint::checkpoint(const std::string& path) {
  const mneme::gguf_file file = mneme::gguf_file::open(path).value();
  shape_ = read_shape(file);
  tokens_ = {file.get<std::vector<std::string>>("tokenizer.ggml.tokens").value(),
             file.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type").value(),
             file.get<std::vector<std::string>>("tokenizer.ggml.merges").value()};
  end_of_text_ = static_cast<token_id>(file.get<std::uint32_t>("tokenizer.ggml.eos_token_id").value());

  auto w = std::make_shared<llama_weights>();
  w->embedding = {file.tensor("token_embd.weight").value()};
  w->norm = {file.tensor("output_norm.weight").value()};
  w->output.weight = file.contains("output.weight") ? file.tensor("output.weight").value() : w->embedding.weight;
  for (index_t i = 0; i < shape_.layers; ++i) w->layers.items.push_back(read_layer(file, i));
  fingerprint_ = mneme::weights_fingerprint(*w);
  weights_ = std::move(w);
  with_cache("full", "f32", 0);  // checks every shape now rather than at first use
}

namespace {

// A list of types to look up by their names.
template <class... X>
struct type_list {};
using all_policies =
    type_list<mneme::evict::full, mneme::evict::window, mneme::evict::sinks, mneme::evict::h2o, mneme::evict::tova>;
using all_codecs = type_list<mneme::store::f32, mneme::store::q8_0>;

template <class... X>
std::vector<std::string> names(type_list<X...>) {
  return {X::name...};
}
// f(X{}) for the X of that name; false if there is none.
template <class... X, class F>
bool with_name(type_list<X...>, const std::string& name, F&& f) {
  return ((name == X::name && (f(X{}), true)) || ...);
}
[[noreturn]] void unknown(const char* what, const std::string& name, const std::vector<std::string>& known) {
  std::string list;
  for (const auto& k : known) list += (list.empty() ? "" : ", ") + k;
  mneme::fail(mneme::message("unknown ", what, " ", name, ", expected one of ", list));
}

}  // namespace

std::vector<std::string> checkpoint::policies() { return names(all_policies{}); }
std::vector<std::string> checkpoint::stores() { return names(all_codecs{}); }

language_model checkpoint::with_cache(const std::string& policy, const std::string& store, index_t capacity) const {
  language_model model;
  const bool known = with_name(all_policies{}, policy, [&](auto p) {
    if (!with_name(all_codecs{}, store, [&](auto codec) {
          model = llama<float, decltype(p), mneme::store::contiguous<decltype(codec)>>(shape_, *weights_, capacity);
        }))
      unknown("store", store, stores());
  });
  if (!known) unknown("policy", policy, policies());
  return model;
}

}  // namespace mneme_stream
