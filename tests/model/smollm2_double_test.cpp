// SPDX-License-Identifier: Apache-2.0
// The q8_0 store under every policy, whole model in double: codes jump where two computations round
// differently, so only equal precision can tell a right store from a wrong one (float32 moves the mean by up
// to 0.002 nats).
#include <nlohmann/json.hpp>

#include <mneme/evict/full.hpp>
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/math/vector.hpp>
#include <mneme/store/codec/q8_0.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "../../examples/stream/llama.hpp"
#include "catch.hpp"

using namespace mneme_stream;
using nlohmann::json;

namespace {

template <class Policy>
mneme::any_memory<double> attention_of(const mneme::kv_attention_config& c,
                                       const mneme::kv_attention_params& p) {
  return mneme::kv_attention<double, Policy, mneme::store::contiguous<mneme::store::q8_0>>(c, p);
}
template <class Policy>
void compare(const checkpoint& file, const json& e, const std::vector<token_id>& ids) {
  const auto m = llama<double>(file.shape(), file.weights(), {.capacity = e["capacity"].get<index_t>()},
                               attention_of<Policy>);
  mneme::context ctx;
  auto s = m.init();
  const auto n = static_cast<index_t>(ids.size()) - 1;
  std::vector<double> logits(static_cast<std::size_t>(n * m.d_out()));
  mneme::scan(m, ctx, s, {ids.data(), n, 1}, {logits.data(), n, m.d_out()});
  double sum = 0;
  for (index_t t = 0; t < n; ++t) {
    const double* of_token = logits.data() + t * m.d_out();
    sum += mneme::log_sum_exp<mneme::simd::native>(m.d_out(), of_token) -
           of_token[ids[static_cast<std::size_t>(t + 1)]];
  }
  const double nll = sum / static_cast<double>(n);
  std::printf("%-7s q8_0 %4td  %.9f  difference %+.1e\n", Policy::name, e["capacity"].get<index_t>(), nll,
              nll - e["nll"].get<double>());
  CHECK(std::fabs(nll - e["nll"].get<double>()) < 1e-6);
}

}  // namespace

TEST_CASE("mean nll over a q8_0 store, in double, equals a plain script in float64") {
  const json expected = json::parse(std::ifstream(MNEME_GOLDEN_DIR "/smollm2/expected_q8_0.json"));
  const json texts = json::parse(std::ifstream(MNEME_GOLDEN_DIR "/smollm2/expected.json"))["texts"];
  const checkpoint file(std::getenv("MNEME_MODEL"), factors::mapped);  // double reads those
  int compared = 0;
  for (const json& e : expected["policies"]) {
    auto ids = texts[e["text"].get<std::string>()]["first_ids"].get<std::vector<token_id>>();
    ids.resize(e["tokens"].get<std::size_t>());
    const auto policy = e["policy"].get<std::string>();
    INFO(policy);
    if (policy == "full") compare<mneme::evict::full>(file, e, ids);
    if (policy == "window") compare<mneme::evict::window>(file, e, ids);
    if (policy == "sinks") compare<mneme::evict::sinks>(file, e, ids);
    if (policy == "h2o") compare<mneme::evict::h2o>(file, e, ids);
    if (policy == "tova") compare<mneme::evict::tova>(file, e, ids);
    ++compared;
  }
  CHECK(compared == 5);
}
