// SPDX-License-Identifier: Apache-2.0
// hash64: the checksum of state files and the fingerprint of weights.
#pragma once
#include "../core/dtype.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mneme::inline MNEME_ABI {

// XXH64 of the bytes (Y. Collet, xxHash, "XXH64 algorithm description"): finds damage, does not resist
// forgery. A hash of several pieces takes the hash of the pieces before as its seed.
inline std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0) {
  constexpr std::uint64_t p1 = 0x9e3779b185ebca87u, p2 = 0xc2b2ae3d27d4eb4fu, p3 = 0x165667b19e3779f9u;
  constexpr std::uint64_t p4 = 0x85ebca77c2b2ae63u, p5 = 0x27d4eb2f165667c5u;
  const auto round = [](std::uint64_t lane, std::uint64_t word) {
    return std::rotl(lane + word * p2, 31) * p1;
  };

  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t h = seed + p5;
  if (left >= 32) {
    std::uint64_t lanes[4] = {seed + p1 + p2, seed + p2, seed, seed - p1};
    for (; left >= 32; left -= 32)
      for (std::uint64_t& lane : lanes) {
        lane = round(lane, load_unaligned_word<std::uint64_t>(at));
        at += 8;
      }
    h = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (const std::uint64_t lane : lanes) h = (h ^ round(0, lane)) * p1 + p4;
  }
  h += bytes.size();
  for (; left >= 8; left -= 8, at += 8)
    h = std::rotl(h ^ round(0, load_unaligned_word<std::uint64_t>(at)), 27) * p1 + p4;
  if (left >= 4) {
    h = std::rotl(h ^ load_unaligned_word<std::uint32_t>(at) * p1, 23) * p2 + p3;
    left -= 4, at += 4;
  }
  for (; left > 0; --left, ++at) h = std::rotl(h ^ std::to_integer<std::uint64_t>(*at) * p5, 11) * p1;
  h = (h ^ (h >> 33)) * p2;
  h = (h ^ (h >> 29)) * p3;
  return h ^ (h >> 32);
}

// 16 digits, lower case.
inline std::string hex(std::uint64_t h) {
  std::string s(16, '0');
  for (std::size_t i = 16; i-- > 0; h >>= 4) s[i] = "0123456789abcdef"[h & 15u];
  return s;
}

}  // namespace mneme::inline MNEME_ABI
