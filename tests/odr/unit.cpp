// SPDX-License-Identifier: Apache-2.0
// Built once per instruction set; MNEME_ODR_UNIT is the name of its function.
#include "units.hpp"

#include <mneme/core/scan.hpp>
#include <mneme/memory/gla.hpp>

// The scan of a memory: products, exponentials, a recurrence.
float MNEME_ODR_UNIT(float x) {
  using namespace mneme;
  constexpr index_t tokens = 5, width = 12;
  const buffer<float> rows(tokens * width, x);
  buffer<float> y(width);
  context ctx;
  const gla<float> memory({.d_model = width, .heads = 3});
  auto s = memory.init();
  scan(memory, ctx, s, {rows.data(), tokens, width}, {y.data(), 1, width});
  return y[0];
}
