// SPDX-License-Identifier: Apache-2.0
// Codes of 2 or 4 bits between the minimum and the maximum of a group of 32 values.
#pragma once
#include "../../math/encode.hpp"
#include "../../math/simd.hpp"

namespace mneme::inline MNEME_ABI::store::detail {

//   z = min, s = (max - min) / (2^Bits - 1), both rounded to binary16;   q = round((x - z) / s);   x~ = q s +
//   z
// Byte j of the codes of 32 values holds in its bits, lowest first, value j and every `bytes`-th one after
// it.
template <int Bits>
struct low_bits {
  static_assert(Bits == 2 || Bits == 4);
  static constexpr index_t count = 32, per_byte = 8 / Bits, bytes = count / per_byte;
  static constexpr int highest = (1 << Bits) - 1;
  // Largest error relative to the largest value: half a step of a range of twice that, and the rounding of z
  // and s.
  static constexpr double rounding = 1.0 / highest + 0x1p-9;

  struct scale {
    float step, zero;

    static scale between(float low, float high) {
      return {from_f16(to_f16((high - low) / static_cast<float>(highest))), from_f16(to_f16(low))};
    }
    std::uint8_t code(float x) const {
      const float q = step > 0 ? std::nearbyint((x - zero) / step) : 0;
      return static_cast<std::uint8_t>(q > 0 ? std::min(q, static_cast<float>(highest)) : 0.0f);  // NaN: 0
    }
  };

  // Value i of the codes at `out`, zero so far.
  static void put(std::byte* out, index_t i, std::uint8_t code) {
    out[i % bytes] |= static_cast<std::byte>(code << (i / bytes * Bits));
  }
  // out [32]: f(i, codes of the values from i on), pack by pack.
  template <class P, class F>
  static void decode(const std::byte* codes, simd::element<P>* out, F&& f) {
    std::int8_t q[count];
    for (index_t word = 0; word < bytes; word += 8) {
      const auto u = load_unaligned_word<std::uint64_t>(codes + word);
      for (int part = 0; part < per_byte; ++part) {
        const std::uint64_t lanes = (u >> (part * Bits)) & (0x0101010101010101u * std::uint64_t{highest});
        std::memcpy(q + part * bytes + word, &lanes, sizeof lanes);
      }
    }
    for (index_t i = 0; i < count; i += simd::width<P>) simd::store(out + i, f(i, simd::load_i8<P>(q + i)));
  }
};

}  // namespace mneme::inline MNEME_ABI::store::detail
