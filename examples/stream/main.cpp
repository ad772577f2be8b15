// SPDX-License-Identifier: Apache-2.0
// mneme-stream: a language model over a text or a prompt, in bounded memory.
#include <CLI/CLI.hpp>

#include <mneme/backend/thread_pool.hpp>
#include <mneme/io/mapped_file.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "model.hpp"
#include "report.hpp"
#include "runs.hpp"
#include "tokenizer.hpp"

namespace mneme_stream {
namespace {

struct options {
  std::string model, text, prompt, json, plot, state_in, state_out;
  std::vector<std::string> policies{"full"}, stores{"f32"};
  std::vector<index_t> capacities{256};
  index_t tokens = 0, generate = 0, segment = 0;
  std::string positions = "stream", weights = "interleaved", precision = "exact";
  int threads = 1;
  bool chat = false, merge = false;
};

// What tells one run from another, and one state file from another.
std::string name_of(const cache_options& c) {
  std::string s = c.policy + "/" + c.store;
  if (c.capacity > 0) s += "/" + std::to_string(c.capacity);
  if (c.segment > 0) s += "/segment " + std::to_string(c.segment);
  if (c.cache_positions) s += "/cache positions";
  if (c.merge) s += "/merge";
  return s;
}

// Store by store, full first (the others are compared with it), once: it has no capacity.
std::vector<cache_options> settings(const options& o) {
  std::vector<cache_options> all;
  for (const auto& store : o.stores) {
    if (std::count(o.policies.begin(), o.policies.end(), "full") > 0) all.push_back({"full", store});
    for (const auto& policy : o.policies)
      for (const index_t c : o.capacities)
        if (policy != "full") all.push_back({policy, store, c, o.segment, o.positions == "cache", o.merge});
  }
  return all;
}

void check(const options& o) {
  if (o.text.empty() == o.prompt.empty()) throw CLI::ValidationError("expected one of --text and --prompt");
  if (!o.prompt.empty() && o.generate < 1)
    throw CLI::ValidationError("--generate is " + std::to_string(o.generate) + ", expected at least 1");
  if (o.tokens < 0 || o.tokens == 1)
    throw CLI::ValidationError("--tokens is " + std::to_string(o.tokens) + ", expected at least 2");
  if (o.precision == "fast" && o.weights == "mapped")
    throw CLI::ValidationError("--precision is fast, expected exact with --weights mapped");
  for (const index_t c : o.capacities)
    if (c < 1) throw CLI::ValidationError("--capacity is " + std::to_string(c) + ", expected at least 1");
  if (o.segment < 0)
    throw CLI::ValidationError("--segment is " + std::to_string(o.segment) + ", expected at least 0");
  if (o.threads < 1)
    throw CLI::ValidationError("--threads is " + std::to_string(o.threads) + ", expected at least 1");
  if (o.segment > 0 && !o.prompt.empty()) throw CLI::ValidationError("--segment goes with --text");
  const bool one = settings(o).size() == 1;
  if (!one && (!o.state_in.empty() || !o.state_out.empty()))
    throw CLI::ValidationError("--state-in and --state-out want one policy, one store and one capacity");
  if (!one && !o.prompt.empty())
    throw CLI::ValidationError("--prompt wants one policy, one store and one capacity");
}

std::vector<token_id> read_tokens(const options& o, const tokenizer& tokens) {
  const auto file = mneme::mapped_file::open(o.text).value();
  const auto bytes = file->bytes();
  std::vector<token_id> ids =
      tokens.encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, false);
  const index_t wanted = o.tokens > 0 ? o.tokens : static_cast<index_t>(ids.size());
  if (static_cast<index_t>(ids.size()) < std::max<index_t>(wanted, 2))
    mneme::fail(mneme::message(o.text, ": the text has ", ids.size(), " tokens, expected at least ",
                               std::max<index_t>(wanted, 2)));
  ids.resize(static_cast<std::size_t>(wanted));
  return ids;
}

void score_text(const options& o, const checkpoint& model, const tokenizer& tokens, mneme::context& ctx) {
  const std::vector<token_id> text = read_tokens(o, tokens);
  std::vector<run_result> results;
  for (const cache_options& s : settings(o))
    model.with_cache(s);  // a pair that is not offered shows before any work
  for (const cache_options& s : settings(o)) {
    const language_model network = model.with_cache(s);
    auto state = network.init();
    stream_position at;
    if (!o.state_in.empty())
      at = load_stream(o.state_in, name_of(s), model.fingerprint(), network, state, text);
    run_result r;
    {
      progress_line line(name_of(s), static_cast<index_t>(text.size()));
      r = score(network, ctx, state, text, s.segment, at, std::ref(line));
    }
    r.policy = s.policy, r.store = s.store, r.capacity = s.capacity;
    for (const run_result& full : results)
      if (full.policy == "full" && full.store == s.store) r.delta_nll = r.nll - full.nll;
    results.push_back(r);
    if (!o.state_out.empty()) save_stream(o.state_out, name_of(s), model.fingerprint(), state, at);
  }
  print_table(results);
  if (!o.json.empty()) write_json(o.json, o.model, o.text, results);
  if (!o.plot.empty()) draw(o.plot, results);
}

void continue_prompt(const options& o, const checkpoint& model, const tokenizer& tokens,
                     mneme::context& ctx) {
  const language_model network = model.with_cache(settings(o).front());
  const message question{"user", o.prompt};
  const std::vector<token_id> prompt =
      o.chat ? tokens.encode(chat_prompt({&question, 1}), true) : tokens.encode(o.prompt, false);
  if (prompt.empty()) throw std::runtime_error("--prompt has no tokens");
  auto state = network.init();
  const generation g =
      generate(network, ctx, state, prompt, o.generate, model.end_of_text(), [&](token_id id) {
        const auto bytes = tokens.bytes_of(id);
        std::fwrite(bytes.data(), 1, bytes.size(), stdout);
        std::fflush(stdout);
      });
  std::printf("\n");
  std::fflush(stdout);
  std::fprintf(stderr, "%zu tokens in (%.1f tokens/s), %zu out (%.1f tokens/s), %zu bytes of state\n",
               prompt.size(), g.prefill_tokens_per_s, g.tokens.size(), g.decode_tokens_per_s,
               mneme::footprint(state).owned);
}

void run(const options& o) {
  mneme::context ctx;
  mneme::thread_pool threads(o.threads);
  if (o.threads > 1) ctx.threads = &threads;
  if (o.precision == "fast") {
    ctx.numeric = mneme::precision::fast;
    if (!fast_products())
      std::fprintf(stderr,
                   "--precision fast: this build has no products in bfloat16 and goes on in float32\n");
  }
  const checkpoint model(o.model, o.weights == "mapped" ? factors::mapped : factors::interleaved);
  const tokenizer tokens(model.tokens());
  if (o.text.empty())
    continue_prompt(o, model, tokens, ctx);
  else
    score_text(o, model, tokens, ctx);
}

void declare(CLI::App& app, options& o) {
  const auto list = [](const std::vector<std::string>& names) {
    std::string s;
    for (const auto& n : names) s += (s.empty() ? "" : ", ") + n;
    return s;
  };
  app.add_option("--model", o.model, "GGUF file of a Llama-shaped model")->required();
  app.add_option("--text", o.text, "score this text");
  app.add_option("--tokens", o.tokens, "score the first N tokens of it (default: all)");
  app.add_option("--policy", o.policies, "who leaves a full cache: " + list(checkpoint::policies()))
      ->delimiter(',')
      ->check(CLI::IsMember(checkpoint::policies()));
  app.add_option("--capacity", o.capacities, "entries kept per layer (default: 256)")->delimiter(',');
  app.add_option("--store", o.stores, "how keys and values are stored: " + list(checkpoint::stores()))
      ->delimiter(',')
      ->check(CLI::IsMember(checkpoint::stores()));
  app.add_option("--segment", o.segment, "evict at every N-th token only (default: after every token)");
  app.add_option("--positions", o.positions, "rotary positions counted in the stream or in the cache")
      ->check(CLI::IsMember({"stream", "cache"}));
  app.add_flag("--merge", o.merge, "merge what leaves into the nearest entry that stays");
  app.add_option("--prompt", o.prompt, "continue this prompt");
  app.add_option("--generate", o.generate, "with at most N tokens");
  app.add_flag("--chat", o.chat, "put the prompt into the chat template");
  app.add_option("--weights", o.weights,
                 "read where the file is mapped, or interleaved in memory: faster (default)")
      ->check(CLI::IsMember({"interleaved", "mapped"}));
  app.add_option("--precision", o.precision,
                 "exact (default): products in float32; fast: in bfloat16, summed in float32")
      ->check(CLI::IsMember({"exact", "fast"}));
  app.add_option("--threads", o.threads, "threads (default: 1)");
  app.add_option("--state-in", o.state_in, "go on with a stream that --state-out stopped");
  app.add_option("--state-out", o.state_out, "write the stream to this file at the end");
  app.add_option("--json", o.json, "write the results to this file");
  app.add_option("--plot", o.plot, "draw quality and bytes into this SVG file (wants gnuplot)");
}

}  // namespace
}  // namespace mneme_stream

int main(int argc, char** argv) {
  CLI::App app("Streams a text through a language model in bounded memory, or continues a prompt.",
               "mneme-stream");
  mneme_stream::options o;
  mneme_stream::declare(app, o);
  try {
    app.parse(argc, argv);
    mneme_stream::check(o);
    mneme_stream::run(o);
    return 0;
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "mneme-stream: %s\n", e.what());
    return 1;
  }
}
