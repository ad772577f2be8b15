// SPDX-License-Identifier: Apache-2.0
// What mneme-stream does with a model: score a text token by token, or continue a prompt.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model.hpp"

namespace mneme_stream {

// How a run stood after `fed` tokens.
struct trace_point {
  index_t fed;
  double nll;  // nats per token so far
  std::size_t state_bytes;
};

// One line of the table.
struct run_result {
  std::string policy, store;
  index_t capacity = 0;  // 0 under a policy without one
  index_t tokens = 0;
  double nll = 0;                   // nats per token: mean over the predictions of tokens 2 .. tokens
  std::optional<double> delta_nll;  // against the full cache of the same store, where that was run
  std::size_t state_bytes = 0;
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;  // 0: nothing was fed that way
  std::vector<trace_point> trace;                            // some 200 points
};

// A stream in progress: everything that a stopped stream needs to go on.
struct stream_position {
  index_t fed = 0;        // tokens whose keys and values the state has seen
  double nll_sum = 0;     // over the predictions of tokens 2 .. fed + 1
  std::string text_hash;  // of the tokens fed
};

// -log softmax(logits)[target], nats.
double surprise(mneme::row_view<const float> logits, token_id target);

// Called now and then with the number of tokens fed so far.
using progress = std::function<void(index_t fed)>;

// Feeds the stream until the last of `text` is predicted: the first min(512, tokens / 2) tokens in blocks
// (prefill), the rest one by one (decode). The numbers do not depend on where one ends and the other begins.
// After every segment-th token the caches are told so, unless segment is 0.
run_result score(const language_model& model, mneme::context& ctx, language_model::state& state,
                 std::span<const token_id> text, index_t segment, stream_position& at,
                 const progress& report);

// Feeds the prompt, then emits the likeliest token until `count` are out or `stop` comes.
struct generation {
  std::vector<token_id> tokens;
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
};
generation generate(const language_model& model, mneme::context& ctx, language_model::state& state,
                    std::span<const token_id> prompt, index_t count, token_id stop,
                    const std::function<void(token_id)>& emit);

// A stream to and from a file. `kind` says which model, policy, store and capacity it belongs to; a file of
// another kind, checkpoint or text is refused. Both throw mneme::error.
void save_stream(const std::string& path, const std::string& kind, const std::string& fingerprint,
                 const language_model::state& state, const stream_position& at);
stream_position load_stream(const std::string& path, const std::string& kind, const std::string& fingerprint,
                            const language_model& model, language_model::state& state,
                            std::span<const token_id> text);

}  // namespace mneme_stream
