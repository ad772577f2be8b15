// SPDX-License-Identifier: Apache-2.0
// leaf: one member of a state without its C++ type; the currency of type erasure and of state files.
#pragma once
#include "bfloat16.hpp"
#include "fields.hpp"

#include <algorithm>
#include <cstring>
#include <span>

namespace mneme::inline MNEME_ABI {

enum class element : std::uint8_t { f32, f64, bf16, i8, u8, i16, u16, i32, u32, i64, u64 };

template <class E>
constexpr element element_of() {
  static_assert(
      (std::is_arithmetic_v<E> && !std::is_same_v<E, bool> && sizeof(E) <= 8) ||
          std::is_same_v<E, std::byte> || std::is_same_v<E, bfloat16>,
      "states hold integers, float, double, bfloat16 or bytes; bool has bit patterns that are no value");
  if constexpr (std::is_same_v<E, bfloat16>)
    return element::bf16;
  else if constexpr (std::is_floating_point_v<E>)
    return sizeof(E) == 8 ? element::f64 : element::f32;
  else {
    constexpr bool is_signed = std::is_signed_v<E>;
    switch (sizeof(E)) {
      case 1: return is_signed ? element::i8 : element::u8;
      case 2: return is_signed ? element::i16 : element::u16;
      case 4: return is_signed ? element::i32 : element::u32;
      default: return is_signed ? element::i64 : element::u64;
    }
  }
}

// View of a buffer or a scalar. resize is null for scalars. Content that does not lie together (copy-on-write
// pages) has no `data`, but pages of one size.
struct leaf {
  element type;
  bool scalar;
  void* data;
  index_t count;
  index_t element_bytes;
  footprint_t held;
  void* owner;
  void (*resize)(void* owner, index_t count);
  index_t page_bytes = 0;
  std::byte* (*page)(void* owner, index_t i, bool to_write) = nullptr;  // null: all of it is in data

  std::size_t bytes() const { return static_cast<std::size_t>(count * element_bytes); }
  footprint_t footprint() const { return held; }
  void copy_to(std::byte* out) const {
    for (std::size_t at = 0; at < bytes();) {
      const std::span<std::byte> run = from(at, false);
      std::memcpy(out + at, run.data(), run.size());
      at += run.size();
    }
  }
  // Fills the content with bytes() bytes.
  void copy_from(const std::byte* in) const {
    for (std::size_t at = 0; at < bytes();) {
      const std::span<std::byte> run = from(at, true);
      std::memcpy(run.data(), in + at, run.size());
      at += run.size();
    }
  }
  friend bool operator==(const leaf& a, const leaf& b) {
    if (a.type != b.type || a.scalar != b.scalar || a.count != b.count) return false;
    for (std::size_t at = 0; at < a.bytes();) {
      const std::span<std::byte> x = a.from(at, false), y = b.from(at, false);
      const std::size_t n = std::min(x.size(), y.size());
      if (std::memcmp(x.data(), y.data(), n) != 0) return false;
      at += n;
    }
    return true;
  }

 private:
  // The content from byte `at` on, as far as it lies together.
  std::span<std::byte> from(std::size_t at, bool to_write) const {
    if (!page) return {static_cast<std::byte*>(data) + at, bytes() - at};
    const auto each = static_cast<std::size_t>(page_bytes);
    return {page(owner, static_cast<index_t>(at / each), to_write) + at % each, each - at % each};
  }
};

inline const leaf& as_leaf(const leaf& l) { return l; }
template <class E>
leaf as_leaf(buffer<E>& b) {
  return {element_of<E>(),
          false,
          b.data(),
          b.size(),
          index_t{sizeof(E)},
          leaf_footprint(b),
          &b,
          [](void* owner, index_t n) { static_cast<buffer<E>*>(owner)->resize(n); }};
}
template <class E>
  requires std::is_arithmetic_v<E>
leaf as_leaf(E& x) {
  return {element_of<E>(), true, &x, 1, index_t{sizeof(E)}, leaf_footprint(x), nullptr, nullptr};
}

// f(path, leaf) for every leaf of a state. The const form gives leaves that must only be read.
template <class S, class F>
void visit_leaves(S& s, F&& f) {
  visit_fields([&](const field_path& at, auto& member) { f(at, as_leaf(member)); },
               const_cast<std::remove_const_t<S>&>(s));
}

}  // namespace mneme::inline MNEME_ABI
