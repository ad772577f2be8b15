// SPDX-License-Identifier: Apache-2.0
// A model as plain functions: what crosses units of different instruction sets.
#pragma once
#include <mneme/backend/function_table.hpp>

#include <cstddef>

inline constexpr std::ptrdiff_t model_width = 20;

struct dispatch_model {
  const char* (*packs)();  // the instruction set that its kernels were built for
  void* (*create)();       // a stream
  void (*destroy)(void* stream);
  void (*scan)(void* stream, const float* x, std::ptrdiff_t tokens, float* y);  // every output
  void (*step)(void* stream, const float* x, float* y);
  std::size_t (*save)(const void* stream, std::byte* out, std::size_t room);  // bytes that it takes
  bool (*load)(void* stream, const std::byte* bytes, std::size_t size);
  float (*untagged)(float x);  // calls an inline function that every unit has under one name
};
MNEME_DECLARE_TABLES(dispatch_model);
