// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE with the `smollm` pre-tokenizer: text to token ids and back, as a GGUF file describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mneme_stream {

using token_id = std::int32_t;

// The three lists of the GGUF metadata (tokenizer.ggml.tokens, .token_type, .merges), as they stand there:
// normal tokens (type 1) in GPT-2's byte-to-character form, control tokens (type 3) as plain text, merges
// "a b" in order of rank.
struct vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;
};

// Immutable once built: copies share the tables, and any number of threads may use one tokenizer.
class tokenizer {
 public:
  // Throws std::runtime_error, a line with index and text of the entry, where the lists do not fit together.
  explicit tokenizer(const vocabulary& entries);

  // Each byte that is no part of a valid UTF-8 character is read as U+FFFD. With parse_special, control
  // tokens are cut out of the text first, the longest where several start; without, they are plain text.
  // A byte that has no token (21 of the 256 in SmolLM2) is dropped, as llama.cpp and Hugging Face do; as in
  // llama.cpp, nothing merges across it. dropped_bytes, if given, receives how many were dropped.
  std::vector<token_id> encode(std::string_view utf8, bool parse_special,
                               std::size_t* dropped_bytes = nullptr) const;

  // The bytes behind the tokens; a token may end within a character. decode(encode(x)) is x for valid UTF-8
  // of which encode drops nothing. Both throw on an id outside the vocabulary.
  std::string decode(std::span<const token_id> ids) const;
  std::string_view bytes_of(token_id id) const;

  std::size_t size() const;
  bool is_control(token_id id) const;
  // The id of a token written as in the vocabulary ("<|im_end|>"); throws naming the token if there is none.
  token_id id_of(std::string_view token) const;

 private:
  struct tables;
  std::shared_ptr<const tables> tables_;
};

struct message {
  std::string role;
  std::string text;
};

// SmolLM2's chat template, to be encoded with parse_special: one message, and a whole conversation, to which
// the default system message is added unless it opens with one. Control tokens in the text of a message are
// parsed like those of the template: take them out of text that is not trusted.
std::string chat_turn(const message& turn);
std::string chat_prompt(std::span<const message> conversation, bool ask_for_answer = true);

}  // namespace mneme_stream
