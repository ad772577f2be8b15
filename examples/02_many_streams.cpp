// SPDX-License-Identifier: Apache-2.0
// One set of weights, many streams: prefill and decode of unequal length in one call.
#include <mneme/mneme.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  using namespace mneme;
  const auto model = chain(lstm<float>({.d_in = 8, .d_hidden = 16}), linear<float>({.d_in = 16, .d_out = 4}));
  context ctx;
  prepare(model, ctx, 16);  // from here on, calls of up to 16 rows do not allocate

  // A new stream reads 9 tokens and wants its last output; an old one decodes 1 token; a third only listens
  // to 5.
  auto fresh = model.init(), old = model.init(), listener = model.init();
  const lane<state_t<decltype(model)>> lanes[] = {{&fresh, 9, 1}, {&old, 1, 1}, {&listener, 5, 0}};
  const std::vector<float> x(15 * 8, 0.25f);  // the rows of all lanes, one after the other
  std::vector<float> y(2 * 4);                // the outputs that were asked for, likewise
  scan_many(model, ctx, lanes, {x.data(), 15, 8}, {y.data(), 2, 4});

  auto alone = model.init();
  std::vector<float> y_alone(4);
  scan(model, ctx, alone, {x.data(), 9, 8}, {y_alone.data(), 1, 4});
  double difference = 0;
  for (std::size_t i = 0; i < 4; ++i)
    difference = std::max(difference, std::abs(double(y[i]) - double(y_alone[i])));
  std::printf("first lane and the same stream alone differ by %.1e\n", difference);
  return difference < 1e-6 ? 0 : 1;
}
