// SPDX-License-Identifier: Apache-2.0
// Run-time storage types of weights and stores, and the scalar conversions of the 16-bit ones.
#pragma once
#include "../fwd.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

namespace mneme::inline MNEME_ABI {

// Block formats hold 32 consecutive columns of one row (ggml layouts):
//   q8_0  f16 d, int8 q[32]                 x = d q                      34 bytes
//   q4_0  f16 d, nibbles[16]                x = d (q - 8)                18 bytes
//   q4_1  f16 d, f16 m, nibbles[16]         x = d q + m                  20 bytes
// Byte j of the nibbles holds value j in its low and value j + 16 in its high half.
enum class dtype : std::uint8_t { f32, f64, bf16, f16, q8_0, q4_0, q4_1 };

struct dtype_info {
  const char* name;
  index_t block;        // columns per block
  index_t block_bytes;  // bytes per block
};
constexpr dtype_info info(dtype t) {
  switch (t) {
    case dtype::f32: return {"F32", 1, 4};
    case dtype::f64: return {"F64", 1, 8};
    case dtype::bf16: return {"BF16", 1, 2};
    case dtype::f16: return {"F16", 1, 2};
    case dtype::q8_0: return {"Q8_0", 32, 34};
    case dtype::q4_0: return {"Q4_0", 32, 18};
    case dtype::q4_1: return {"Q4_1", 32, 20};
  }
  return {"?", 1, 1};
}
// Bytes of one row of `cols` columns; cols must be a multiple of the block.
constexpr index_t row_bytes(dtype t, index_t cols) { return cols / info(t).block * info(t).block_bytes; }

template <class T>
inline constexpr dtype dtype_of = sizeof(T) == 8 ? dtype::f64 : dtype::f32;

// bfloat16: the upper half of a float32, rounded to nearest even; NaN stays NaN.
inline std::uint16_t to_bf16(float x) {
  auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((u >> 16) | 0x40u);
  u += 0x7fffu + ((u >> 16) & 1u);
  return static_cast<std::uint16_t>(u >> 16);
}
inline float from_bf16(std::uint16_t h) { return std::bit_cast<float>(std::uint32_t{h} << 16); }

// IEEE binary16, subnormals and infinities included.
inline float from_f16(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t{h & 0x8000u} << 16, exponent = (h >> 10) & 0x1fu,
                      fraction = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}
// Rounds to nearest even; overflow gives infinity.
inline std::uint16_t to_f16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (a >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to 65536 or more
  if (a < 0x38800000u) {  // below 2^-14: adding 0.5 aligns the fraction of a subnormal and rounds it
    const float shifted = std::bit_cast<float>(a) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  const std::uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

// Largest rounding error of a storage type, relative to the largest magnitude of its block.
constexpr double storage_rounding(dtype t) {
  switch (t) {
    case dtype::f64: return 0;
    case dtype::f32: return 0x1p-24;
    case dtype::bf16: return 0x1p-8;
    case dtype::f16: return 0x1p-11;
    case dtype::q8_0: return 1.0 / 254 + 0x1p-11;
    case dtype::q4_0: return 1.0 / 8 + 0x1p-10;
    case dtype::q4_1: return 1.0 / 15 + 0x1p-10;
  }
  return 0;
}

template <class Word>
Word load_unaligned_word(const void* p) {  // files align nothing
  Word w;
  std::memcpy(&w, p, sizeof w);
  return w;
}

}  // namespace mneme::inline MNEME_ABI
