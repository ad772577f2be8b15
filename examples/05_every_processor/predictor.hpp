// SPDX-License-Identifier: Apache-2.0
// What crosses units of different instruction sets: functions on pointers and sizes.
#pragma once
#include <mneme/backend/function_table.hpp>

inline constexpr int width = 64;

struct predictor {
  void* (*create)();
  void (*step)(void* stream, const float* x, float* y);  // one token
  void (*destroy)(void* stream);
};
MNEME_DECLARE_TABLES(predictor);
