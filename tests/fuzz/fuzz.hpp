// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. libFuzzer hands over a block of exactly `size` bytes, so that AddressSanitizer
// sees every read beyond it.
#pragma once
#include <mneme/core/weight.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>

namespace fuzz {

inline std::span<const std::byte> bytes(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}
// An owner that keeps nothing: weights stay views of the input, which outlives them.
inline std::shared_ptr<const void> owner(const std::uint8_t* data) {
  return {data, [](const void*) {}};
}

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}
// Reads every byte.
inline void touch(std::span<const std::byte> content) {
  unsigned sum = 0;
  for (const std::byte b : content) sum += static_cast<unsigned>(b);
  volatile unsigned sink = sum;
  static_cast<void>(sink);
}
inline void touch(const mneme::weight& w) { touch({static_cast<const std::byte*>(w.data()), w.bytes()}); }

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
