// SPDX-License-Identifier: Apache-2.0
// streams/<model>/lanes/<n>: the next token of n streams in one call of scan_many, by the language model of
// examples/stream. The environment variable MNEME_MODEL names its file; without it there is nothing to measure.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

#include "../examples/stream/caches.hpp"
#include "case.hpp"
#include "limits.hpp"

// What the model may be built with: here the full cache alone, not the program's long list.
namespace mneme_stream {
std::span<const cache_kind> cache_kinds() {
  static constexpr cache_kind kinds[] = {
      {"full", "f32",
       [](const mneme::kv_attention_config& c, const mneme::kv_attention_params& p)
           -> mneme::any_memory<float> { return mneme::kv_attention<float>(c, p); }}};
  return kinds;
}
}  // namespace mneme_stream

namespace bench {
namespace {

using mneme_stream::token_id;
using state = mneme_stream::language_model::state;

constexpr index_t most_lanes = 256;
constexpr index_t prefix = 32;  // tokens that every stream has read before the one that is measured
constexpr index_t pasts = 64;   // different prefixes; further streams go on from copies of them

// A model, and many streams of their own tokens.
class streams {
 public:
  explicit streams(const char* path) : file_(path), model_(file_.with_cache({})) {
    const auto add = [this](const mneme::field_path&, const mneme::weight& w) {
      if (w.rank() != 2) return;  // norms
      weights_ += static_cast<double>(w.size());
      weight_bytes_ += static_cast<double>(w.bytes());
    };
    mneme::visit_fields(add, file_.weights().layers);
    mneme::visit_fields(add, file_.weights().output);
    read_prefixes();
    for (stream& s : all_) {
      s.now = s.start;
      model_.reserve(s.now, 1);
    }
  }

  // The first streams, back at the end of their prefixes.
  void restart(index_t lanes) {
    fed_.clear();
    for (stream& s : first(lanes)) {
      s.now = s.start;
      fed_.push_back({&s.now, 1, 1});
    }
    logits_.resize(static_cast<std::size_t>(lanes * width()));
  }
  // One more token of each.
  void step(context& ctx) {
    const auto lanes = static_cast<index_t>(fed_.size());
    model_.scan_many(ctx, fed_, {next_, lanes, 1}, {logits_.data(), lanes, width()});
  }
  // What differs from every stream stepping alone, on one thread; empty if no bit does.
  std::string disagreement(context& ctx, index_t lanes) {
    restart(lanes);
    step(ctx);
    const float* together = logits_.data();
    for (stream& s : first(lanes)) {
      if (s.alone.empty()) {
        s.alone.resize(static_cast<std::size_t>(width()));
        s.now = s.start;
        model_.step(with_threads(1), s.now, {next_ + (&s - all_), 1}, s.alone);
        show_progress("streams: each by itself");
      }
      if (std::memcmp(together, s.alone.data(), sizeof(float) * s.alone.size()) != 0)
        return "the logits of stream " + std::to_string(&s - all_) + " are not those of that stream alone";
      together += width();
    }
    return {};
  }

  double state_bytes() const { return static_cast<double>(mneme::footprint(all_->start).owned); }
  double weight_bytes() const { return weight_bytes_; }
  work cost(index_t lanes) const {
    const auto& s = file_.shape();
    const double n = static_cast<double>(lanes),
                 attended = static_cast<double>(s.layers * s.width * (prefix + 1));
    return {.fmas = n * (weights_ + 2 * attended),
            .read = weight_bytes_ + n * state_bytes(),
            .rows = n * 4 * static_cast<double>(s.vocabulary)};
  }

 private:
  struct stream {
    state start, now;
    std::vector<float> alone;  // the logits that come next, by itself
  };
  std::span<stream> first(index_t lanes) { return std::span(all_).first(static_cast<std::size_t>(lanes)); }
  index_t width() const { return model_.d_out(); }
  void read_prefixes() {
    constexpr index_t together = 16;
    std::uint32_t seed = 12345;
    const auto draw = [&] {
      seed = seed * 1664525u + 1013904223u;
      return static_cast<token_id>((seed >> 8) % static_cast<std::uint32_t>(file_.shape().vocabulary));
    };
    token_id tokens[together * prefix];
    for (index_t from = 0; from < pasts; from += together) {
      std::generate(std::begin(tokens), std::end(tokens), draw);
      fed_.clear();
      for (index_t i = from; i < from + together; ++i) {
        all_[i].start = model_.init();
        fed_.push_back({&all_[i].start, prefix, 0});
      }
      model_.scan_many(with_threads(2), fed_, {tokens, together * prefix, 1}, {nullptr, 0, width()});
      show_progress("streams: their prefixes");
    }
    for (index_t i = pasts; i < most_lanes; ++i) all_[i].start = all_[i - pasts].start;
    std::generate(std::begin(next_), std::end(next_), draw);
  }

  mneme_stream::checkpoint file_;
  mneme_stream::language_model model_;
  stream all_[most_lanes];
  token_id next_[most_lanes];
  std::vector<mneme::lane<state>> fed_;
  std::vector<float> logits_;
  double weights_ = 0, weight_bytes_ = 0;  // of the matrices
};

streams& loaded(const char* path) {  // when it is first asked for
  static streams all(path);
  return all;
}

void measure(benchmark::State& timed, const char* path, index_t lanes, int threads) try {
  streams& all = loaded(path);
  context& ctx = with_threads(threads);
  static std::map<std::pair<index_t, int>, std::string> checked;
  const auto [error, is_new] = checked.try_emplace({lanes, threads}, "not checked");
  if (is_new) error->second = all.disagreement(ctx, lanes);
  if (!error->second.empty()) return timed.SkipWithError(error->second.c_str());
  show_progress("streams/" + std::to_string(lanes));
  for (auto _ : timed) {
    timed.PauseTiming();
    all.restart(lanes);
    timed.ResumeTiming();
    all.step(ctx);
  }
  const double n = static_cast<double>(lanes), states = n * all.state_bytes();
  count(timed, all.cost(lanes), all.weight_bytes() + states, threads);
  timed.counters["tokens"] = n;
  timed.counters["state_bytes"] = states;
} catch (const std::exception& e) {
  timed.SkipWithError(e.what());
}

const suite all([] {
  const char* path = std::getenv("MNEME_MODEL");
  if (!path || !*path) return;
  const std::string model = std::filesystem::path(path).stem().string();
  for (index_t lanes = 1; lanes <= most_lanes; lanes *= 4)
    for (int threads = 1; threads <= 2; ++threads)
      benchmark::RegisterBenchmark(("streams/" + model + "/lanes/" + std::to_string(lanes) +
                                    "/threads:" + std::to_string(threads) + "/kernel")
                                       .c_str(),
                                   [=](benchmark::State& timed) { measure(timed, path, lanes, threads); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
});

}  // namespace
}  // namespace bench
