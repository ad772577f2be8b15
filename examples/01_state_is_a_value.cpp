// SPDX-License-Identifier: Apache-2.0
// The past of a stream is one value: read a text once, ask two questions, go back, stop and resume.
#include <mneme/io/state_file.hpp>
#include <mneme/mneme.hpp>

#include <cstdio>
#include <vector>

int main() {
  using namespace mneme;
  const auto model =
      residual(kv_attention<float, evict::window>({.d_model = 32, .heads = 4, .capacity = 64}));
  const auto row = [](float x) { return std::vector<float>(32, x); };
  const std::vector<float> text(200 * 32, 0.1f);
  std::vector<float> a(32), b(32), again(32);

  context ctx;
  auto past = model.init();                           // the empty past
  observe(model, ctx, past, {text.data(), 200, 32});  // 200 tokens, no outputs wanted
  auto fork = past;                                   // two futures of one past
  step(model, ctx, past, row(1.0f), a);
  step(model, ctx, fork, row(-1.0f), b);
  std::printf("the futures differ: %s\n", past != fork ? "yes" : "no");

  const auto bytes = save_state(fork, {.kind = "tutorial", .position = 201}).value();
  auto resumed = model.init();
  load_state(bytes, model, resumed, {.kind = "tutorial"}).value();
  step(model, ctx, fork, row(0.5f), b);
  step(model, ctx, resumed, row(0.5f), again);
  std::printf("a saved stream goes on as if it had never stopped: %s\n", b == again ? "yes" : "no");
  std::printf("%zu bytes of state, %zu in the file\n", footprint(resumed).owned, bytes.size());
  return past != fork && b == again ? 0 : 1;
}
