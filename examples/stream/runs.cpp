// SPDX-License-Identifier: Apache-2.0
#include "runs.hpp"

#include <mneme/backend/dispatch.hpp>
#include <mneme/io/state_file.hpp>
#include <mneme/math/vector.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace mneme_stream {
namespace {

constexpr index_t prefill_block = 64;  // rows of logits held at once: 64 x 49,152 floats are 12 MB

class stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(clock::now() - start_).count(); }

 private:
  using clock = std::chrono::steady_clock;
  clock::time_point start_ = clock::now();
};
double rate(index_t tokens, double seconds) { return tokens > 0 ? static_cast<double>(tokens) / seconds : 0; }

std::string hash_of(std::span<const token_id> text) { return mneme::hex(mneme::hash64(std::as_bytes(text))); }

}  // namespace

double surprise(mneme::row_view<const float> logits, token_id target) {
  return mneme::log_sum_exp<mneme::simd::native>(logits.size(), logits.data()) - double{logits[target]};
}

run_result score(const language_model& model, mneme::context& ctx, language_model::state& state,
                 std::span<const token_id> text, index_t segment, stream_position& at,
                 const progress& report) {
  const auto tokens = static_cast<index_t>(text.size());
  const index_t last = tokens - 1;  // never fed: nothing follows it
  const index_t prefill_end = std::min({index_t{512}, tokens / 2, last});
  std::vector<float> logits(static_cast<std::size_t>(prefill_block * model.d_out()));
  const auto row = [&](index_t i) {
    return mneme::row_view<float>(logits.data() + i * model.d_out(), model.d_out());
  };
  run_result result;
  result.tokens = tokens;

  const auto trace = [&] {
    if (at.fed > 0)
      result.trace.push_back(
          {at.fed, at.nll_sum / static_cast<double>(at.fed), mneme::footprint(state).owned});
  };

  const auto to_boundary = [&] { return segment > 0 ? segment - at.fed % segment : tokens; };
  const auto fed = [&](index_t n) {
    at.fed += n;
    if (segment > 0 && at.fed % segment == 0) model.end_segment(ctx, state);
  };

  const index_t prefill_start = at.fed;
  const stopwatch prefill;
  while (at.fed < prefill_end) {
    const index_t n = std::min({prefill_block, prefill_end - at.fed, to_boundary()});
    mneme::scan(model, ctx, state, {text.data() + at.fed, n, 1}, {logits.data(), n, model.d_out()});
    for (index_t i = 0; i < n; ++i)
      at.nll_sum += surprise(row(i), text[static_cast<std::size_t>(at.fed + i + 1)]);
    fed(n);
    trace();
    report(at.fed);
  }
  result.prefill_tokens_per_s = rate(at.fed - prefill_start, prefill.seconds());

  const index_t decode_start = at.fed;
  const stopwatch decode;
  for (; at.fed < last; report(at.fed)) {
    model.step(ctx, state, {text.data() + at.fed, 1}, row(0));
    fed(1);
    at.nll_sum += surprise(row(0), text[static_cast<std::size_t>(at.fed)]);
    if (at.fed % (tokens / 200 + 1) == 0) trace();
  }
  result.decode_tokens_per_s = rate(at.fed - decode_start, decode.seconds());

  trace();
  result.nll = at.nll_sum / static_cast<double>(last);
  result.state_bytes = mneme::footprint(state).owned;
  at.text_hash = hash_of(text.first(static_cast<std::size_t>(at.fed)));
  return result;
}

generation generate(const language_model& model, mneme::context& ctx, language_model::state& state,
                    std::span<const token_id> prompt, index_t count, token_id stop,
                    const std::function<void(token_id)>& emit) {
  const auto n = static_cast<index_t>(prompt.size());
  std::vector<float> logits(static_cast<std::size_t>(model.d_out()));
  generation result;
  const stopwatch prefill;
  mneme::scan(model, ctx, state, {prompt.data(), n, 1}, {logits.data(), 1, model.d_out()});
  result.prefill_tokens_per_s = rate(n, prefill.seconds());

  const stopwatch decode;
  while (static_cast<index_t>(result.tokens.size()) < count) {
    const auto best = static_cast<token_id>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (best == stop) break;
    result.tokens.push_back(best);
    emit(best);
    model.step(ctx, state, {&best, 1}, logits);
  }
  result.decode_tokens_per_s = rate(static_cast<index_t>(result.tokens.size()), decode.seconds());
  return result;
}

void save_stream(const std::string& path, const std::string& kind, const std::string& fingerprint,
                 const language_model::state& state, const stream_position& at) {
  char sum[64];
  std::snprintf(sum, sizeof sum, "%a", at.nll_sum);  // hexadecimal: every bit survives
  mneme::state_info info;
  info.kind = kind;
  info.weights_fingerprint = fingerprint;
  info.note = at.text_hash + " " + sum;
  info.position = at.fed;
  mneme::save_state(path, state, info).or_fail();
}

stream_position load_stream(const std::string& path, const std::string& kind, const std::string& fingerprint,
                            const language_model& model, language_model::state& state,
                            std::span<const token_id> text) {
  mneme::state_info expected;
  expected.kind = kind;
  expected.weights_fingerprint = fingerprint;
  const mneme::state_info info = mneme::load_state(path, model, state, expected).value();
  const auto gap = info.note.find(' ');
  stream_position at;
  at.fed = info.position;
  at.text_hash = info.note.substr(0, gap);
  at.nll_sum = gap == std::string::npos ? 0 : std::strtod(info.note.c_str() + gap, nullptr);
  if (at.fed < 0 || at.fed >= static_cast<index_t>(text.size()))
    mneme::fail(mneme::message(path, ": the stream is at token ", at.fed, ", expected fewer than the ",
                               text.size(), " tokens of the text"));
  if (at.text_hash != hash_of(text.first(static_cast<std::size_t>(at.fed))))
    mneme::fail(mneme::message(path, ": the stream has read another text"));
  return at;
}

}  // namespace mneme_stream
