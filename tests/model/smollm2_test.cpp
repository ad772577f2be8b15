// SPDX-License-Identifier: Apache-2.0
// SmolLM2-135M-Instruct through the library against tests/golden/smollm2/expected.json (float64, plain
// torch).
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>

#include "../../examples/stream/model.hpp"
#include "../../examples/stream/runs.hpp"
#include "../../examples/stream/tokenizer.hpp"
#include "catch.hpp"

using namespace mneme_stream;
using nlohmann::json;

namespace {

const json& expected() {
  static const json j = json::parse(std::ifstream(MNEME_GOLDEN_DIR "/smollm2/expected.json"));
  return j;
}
const checkpoint& model_file() {
  static const checkpoint c(std::getenv("MNEME_MODEL"));
  return c;
}
const checkpoint& mapped_file() {
  static const checkpoint c(std::getenv("MNEME_MODEL"), factors::mapped);
  return c;
}
const tokenizer& tokens() {
  static const tokenizer t(model_file().tokens());
  return t;
}
std::vector<token_id> text_ids(const std::string& name, std::size_t n) {
  auto ids = expected()["texts"][name]["first_ids"].get<std::vector<token_id>>();
  REQUIRE(ids.size() >= n);
  ids.resize(n);
  return ids;
}
// Mean nats per token of the first n tokens, for every n of `lengths` (ascending), in one pass over blocks.
// Law L21 makes these the numbers of token-by-token feeding too.
std::vector<double> nll_of(const language_model& m, const std::vector<token_id>& ids,
                           const std::vector<std::size_t>& lengths,
                           mneme::precision precision = mneme::precision::exact) {
  mneme::context ctx;
  ctx.numeric = precision;
  auto s = m.init();
  std::vector<float> logits(static_cast<std::size_t>(64 * m.d_out()));
  std::vector<double> means;
  double sum = 0;
  for (index_t from = 0; means.size() < lengths.size();) {
    const auto last = static_cast<index_t>(lengths[means.size()]) - 1;
    const index_t n = std::min<index_t>(64, last - from);
    mneme::scan(m, ctx, s, {ids.data() + from, n, 1}, {logits.data(), n, m.d_out()});
    for (index_t i = 0; i < n; ++i)
      sum +=
          surprise({logits.data() + i * m.d_out(), m.d_out()}, ids[static_cast<std::size_t>(from + i + 1)]);
    from += n;
    if (from == last) means.push_back(sum / static_cast<double>(last));
  }
  return means;
}

}  // namespace

TEST_CASE("tokenisation equals the public tokenisers on awkward strings") {
  for (const json& c : expected()["tokenizer"]) {
    const auto text = c["text"].get<std::string>();
    INFO(text);
    CHECK(tokens().encode(text, true) == c["ids_parse_special"].get<std::vector<token_id>>());
    CHECK(tokens().encode(text, false) == c["ids_plain"].get<std::vector<token_id>>());
  }
}

TEST_CASE("mean nll with the full cache is within 0.0005 nats of float64") {
  const language_model m = model_file().with_cache({});
  std::map<std::string, std::map<std::size_t, double>> by_text;
  for (const char* part : {"full", "policies"})
    for (const json& e : expected()[part])
      if (e.value("policy", "full") == "full") by_text[e["text"]][e["tokens"]] = e["nll"];
  for (const auto& [text, by_length] : by_text) {
    std::vector<std::size_t> lengths;
    for (const auto& [n, nll] : by_length) lengths.push_back(n);
    const auto means = nll_of(m, text_ids(text, lengths.back()), lengths);
    for (std::size_t i = 0; i < means.size(); ++i) {
      const double nll = by_length.at(lengths[i]);
      std::printf("full    %-7s %5zu  %.6f  difference %+.1e\n", text.c_str(), lengths[i], means[i],
                  means[i] - nll);
      CHECK(std::fabs(means[i] - nll) < 0.0005);
    }
  }
}

TEST_CASE("mean nll in fast precision is within 0.002 nats of float64") {
  const language_model m = model_file().with_cache({});
  for (const json& e : expected()["full"]) {
    const auto n = e["tokens"].get<std::size_t>();
    if (n > 512) continue;
    const double nll = nll_of(m, text_ids(e["text"], n), {n}, mneme::precision::fast).front(),
                 difference = nll - e["nll"].get<double>();
    std::printf("fast    %-7s %5zu  %.6f  difference %+.1e\n", e["text"].get<std::string>().c_str(), n, nll,
                difference);
    CHECK(std::fabs(difference) < 0.002);
  }
}

// Rounded stores are compared in smollm2_double_test.cpp.
TEST_CASE("mean nll under every eviction policy is within 0.0005 nats of a plain script") {
  for (const json& e : expected()["policies"]) {
    if (e["policy"] == "full") continue;
    const auto n = e["tokens"].get<std::size_t>();
    const language_model m =
        model_file().with_cache({.policy = e["policy"], .capacity = e["capacity"].get<index_t>()});
    const double nll = nll_of(m, text_ids(e["text"], n), {n}).front(),
                 difference = nll - e["nll"].get<double>();
    std::printf("%-7s %4td %-7s %5zu  %.6f  difference %+.1e\n", e["policy"].get<std::string>().c_str(),
                e["capacity"].get<index_t>(), e["text"].get<std::string>().c_str(), n, nll, difference);
    INFO(e["policy"] << " " << e["capacity"] << " " << e["text"] << ": " << nll);
    CHECK(std::fabs(difference) < 0.0005);
  }
}

TEST_CASE("teacher-forced, the best token is the reference's wherever its margin exceeds 0.01") {
  const language_model m = mapped_file().with_cache({});
  for (const json& g : expected()["greedy"]) {
    const auto prompt = g["prompt_ids"].get<std::vector<token_id>>();
    CHECK(tokens().encode(g["prompt"].get<std::string>(), true) == prompt);
    mneme::context ctx;
    auto s = m.init();
    std::vector<float> logits(static_cast<std::size_t>(m.d_out()));
    mneme::scan(m, ctx, s, {prompt.data(), static_cast<index_t>(prompt.size()), 1},
                {logits.data(), 1, m.d_out()});
    const auto ids = g["ids"].get<std::vector<token_id>>();
    REQUIRE(ids.size() == 32);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      INFO(g["name"] << " step " << i << ", margin " << g["gap"][i]);
      if (g["gap"][i].get<double>() > 0.01) CHECK(best == ids[i]);
      m.step(ctx, s, {&ids[i], 1}, logits);
    }
  }
}

TEST_CASE("a stream that was stopped, saved and loaded gives the same numbers as one that ran through") {
  const auto text = text_ids("gpl3", 96);
  const language_model m = model_file().with_cache({.policy = "h2o", .store = "q8_0", .capacity = 16});
  const auto quiet = [](index_t) {};
  mneme::context ctx;
  auto whole = m.init();
  stream_position at_whole;
  const run_result through = score(m, ctx, whole, text, 0, at_whole, quiet);

  const std::string path = "smollm2_stream.state";
  {
    auto first = m.init();
    stream_position at;
    score(m, ctx, first, std::span(text).first(41), 0, at, quiet);
    save_stream(path, "h2o/q8_0/16", model_file().fingerprint(), first, at);
  }
  auto second = m.init();
  stream_position at = load_stream(path, "h2o/q8_0/16", model_file().fingerprint(), m, second, text);
  const run_result continued = score(m, ctx, second, text, 0, at, quiet);
  CHECK(continued.nll == through.nll);
  CHECK(second == whole);
  CHECK_THROWS(load_stream(path, "window/q8_0/16", model_file().fingerprint(), m, second, text));
  CHECK_THROWS(load_stream(path, "h2o/q8_0/16", "another checkpoint", m, second, text));
  auto other = text;
  other[7] ^= 1;
  CHECK_THROWS(load_stream(path, "h2o/q8_0/16", model_file().fingerprint(), m, second, other));
  std::remove(path.c_str());
}
