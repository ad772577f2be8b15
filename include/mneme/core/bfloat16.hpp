// SPDX-License-Identifier: Apache-2.0
// bfloat16: an element of buffers that takes half the bytes of a float.
#pragma once
#include "dtype.hpp"

#include <concepts>

namespace mneme::inline MNEME_ABI {

// The upper half of a float32: its range, 8 bits of precision. Storage alone; arithmetic is done in what it
// is widened to. Rounding is to nearest even, NaN stays NaN, and magnitudes below 2^-126, the least normal
// one, become a zero of their sign, as the instruction for it has it. A double goes through float32.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  explicit bfloat16(std::floating_point auto x) : bits(rounded(static_cast<float>(x))) {}
  template <std::floating_point F>
  explicit operator F() const {
    return static_cast<F>(from_bf16(bits));
  }
  friend bool operator==(bfloat16, bfloat16) = default;  // of bits

 private:
  static std::uint16_t rounded(float x) {
    const bool tiny = (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) == 0;
    return tiny ? static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16 & 0x8000u) : to_bf16(x);
  }
};

// What a state of a memory in T may be stored in: T itself, or bfloat16.
template <class Stored, class T>
concept StoresElementsOf = std::same_as<Stored, T> || std::same_as<Stored, bfloat16>;

}  // namespace mneme::inline MNEME_ABI
