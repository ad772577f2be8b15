// SPDX-License-Identifier: Apache-2.0
// What readers of untrusted files share: a bounded cursor, checked sizes, short names, weights in place.
#pragma once
#include "../core/weight.hpp"

#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mneme::inline MNEME_ABI {

// The order of texts in maps and sets. With std::less<> their functions would have the same names in units of
// different instruction sets, and the linker would keep one of them for all (see version.hpp).
struct text_order {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const noexcept { return a < b; }
};

static_assert(std::endian::native == std::endian::little,
              "mneme/io maps little-endian files without swapping bytes");

namespace detail {

// Reads from the front and never past the end; what returns false has taken nothing.
class byte_cursor {
 public:
  explicit byte_cursor(std::span<const std::byte> bytes, std::size_t at = 0) : bytes_(bytes), at_(at) {}
  std::size_t at() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  bool skip(std::uint64_t n) {
    if (n > left()) return false;
    at_ += static_cast<std::size_t>(n);
    return true;
  }
  template <class N>
  bool take(N& number) {
    if (sizeof(N) > left()) return false;
    std::memcpy(&number, bytes_.data() + at_, sizeof(N));
    at_ += sizeof(N);
    return true;
  }
  // n characters in place, valid for as long as the bytes are.
  bool take(std::string_view& chars, std::uint64_t n) {
    if (n > left()) return false;
    chars = {reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<std::size_t>(n)};
    at_ += chars.size();
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_;
};

// product *= factor, or false if that overflows. Precondition: product >= 0.
inline bool multiply(index_t& product, std::uint64_t factor) {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<index_t>::max());
  if (factor > most) return false;
  if (factor != 0 && static_cast<std::uint64_t>(product) > most / factor) return false;
  product *= static_cast<index_t>(factor);
  return true;
}

// A name from a file inside a message of one line: quoted, short, without control characters.
inline std::string shown(std::string_view name) {
  constexpr std::size_t longest = 100;
  std::string s = "\"";
  for (const char c : name.substr(0, longest))
    s += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return s + (name.size() > longest ? "...\"" : "\"");
}

// A weight over bytes of a file. Shares them with `owner` unless that is null or their place does not suit
// their type: kernels read floats in place. Precondition: the bytes are as many as shape and type ask for,
// rows fill blocks.
inline weight weight_over(std::span<const std::byte> bytes, std::array<index_t, 3> shape, int rank,
                          dtype type, const std::shared_ptr<const void>& owner) {
  const auto word = static_cast<std::uintptr_t>(info(type).block == 1 ? info(type).block_bytes : 2);
  if (owner == nullptr || reinterpret_cast<std::uintptr_t>(bytes.data()) % word != 0)
    return weight::copy_of(bytes.data(), shape, rank, type);
  return weight(bytes.data(), shape, rank, type, owner);
}

}  // namespace detail

}  // namespace mneme::inline MNEME_ABI
