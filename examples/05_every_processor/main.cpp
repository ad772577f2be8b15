// SPDX-License-Identifier: Apache-2.0
// One program for every processor: the same model built for several instruction sets, of which the best is
// taken at run time. MNEME_INSTRUCTION_SET=x86-64-v3 in the environment forces one.
#include "predictor.hpp"

#include <chrono>
#include <cstdio>

int main() {
  const auto best = predictor_tables.best();
  if (!best) return std::fprintf(stderr, "%s\n", best.error().what()), 1;
  for (const auto& p : predictor_tables.supported()) {
    float x[width] = {1}, y[width];
    void* stream = p->create();
    const auto start = std::chrono::steady_clock::now();
    for (int t = 0; t < 10000; ++t) p->step(stream, x, y);
    const std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
    p->destroy(stream);
    std::printf("%-10s %6.2f us per token%s\n", p.set, us.count() / 10000,
                p.functions == best->functions ? ", taken" : "");
  }
}
