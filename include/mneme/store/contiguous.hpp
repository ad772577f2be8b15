// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../core/fields.hpp"
#include "detail/layout.hpp"

namespace mneme::inline MNEME_ABI::store {

// Layout: slots one after the other, each slot the rows of all lists. One stream's, one layer's state.
//   keys   [slots][lists][key row bytes]      values [slots][lists][value row bytes]
// Appending needs no data movement; a list may put another token into a slot than its neighbour.
template <class Codec>
struct contiguous {
  using codec = Codec;
  static constexpr const char* name = "contiguous";
  static constexpr double rounding = storage_rounding(Codec::type);  // relative to the largest channel
  static constexpr bool shares = false;                              // whether copies of a state share bytes
  template <class Policy>
  static constexpr bool legal = true;

  buffer<std::byte> keys, values;

  friend bool operator==(const contiguous&, const contiguous&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("keys", s.keys...);
    f("values", s.values...);
  }

  static constexpr index_t bytes_of(index_t d) { return detail::row_codec<Codec>::bytes(d); }
  static contiguous with_slots(const kv_shape& shape, index_t slots, place where) {
    return {buffer<std::byte>(slots * shape.lists * bytes_of(shape.d_key), std::byte{}, where),
            buffer<std::byte>(slots * shape.lists * bytes_of(shape.d_value), std::byte{}, where)};
  }
  index_t slots(const kv_shape& shape) const { return keys.size() / (shape.lists * bytes_of(shape.d_key)); }
  // Whether keys and values are those of exactly n slots after `dropped` evictions; n may be any number.
  bool holds(const kv_shape& shape, index_t n, [[maybe_unused]] index_t dropped = 0) const {
    const auto filled = [&](const buffer<std::byte>& b, index_t d) {
      const index_t slot = shape.lists * bytes_of(d);
      return b.size() % slot == 0 && b.size() / slot == n;
    };
    return filled(keys, shape.d_key) && filled(values, shape.d_value);
  }
  void resize(const kv_shape& shape, index_t slots) {
    keys.resize(slots * shape.lists * bytes_of(shape.d_key));
    values.resize(slots * shape.lists * bytes_of(shape.d_value));
  }
  // Room for that many slots in all.
  void reserve(const kv_shape& shape, index_t slots) {
    keys.reserve(slots * shape.lists * bytes_of(shape.d_key));
    values.reserve(slots * shape.lists * bytes_of(shape.d_value));
  }

  // Encodes one entry of one list.
  template <class T>
  void write(const kv_shape& shape, index_t list, index_t slot, const T* key, const T* value) noexcept {
    using coded = detail::row_codec<Codec>;
    coded::encode(key, shape.d_key, row(keys, shape.lists, shape.d_key, list, slot));
    coded::encode(value, shape.d_value, row(values, shape.lists, shape.d_value, list, slot));
  }
  // Moves the entry of slot `from` to slot `to` and zeroes what it leaves: dead slots are always zero.
  void move(const kv_shape& shape, index_t list, index_t from, index_t to) noexcept {
    move_row(keys, shape.lists, shape.d_key, list, from, to);
    move_row(values, shape.lists, shape.d_value, list, from, to);
  }
  // The first n entries of a list, as the attention op reads them.
  kv_rows<Codec::type> rows(const kv_shape& shape, index_t list, index_t n) const noexcept {
    return {row(keys, shape.lists, shape.d_key, list, 0),
            row(values, shape.lists, shape.d_value, list, 0),
            shape.lists * bytes_of(shape.d_key),
            shape.lists * bytes_of(shape.d_value),
            shape.d_key,
            shape.d_value,
            n};
  }

 private:
  template <class Bytes>
  static auto* row(Bytes& bytes, index_t lists, index_t d, index_t list, index_t slot) {
    return bytes.data() + (slot * lists + list) * bytes_of(d);
  }
  static void move_row(buffer<std::byte>& bytes, index_t lists, index_t d, index_t list, index_t from,
                       index_t to) {
    std::byte* source = row(bytes, lists, d, list, from);
    if (from != to) std::copy_n(source, bytes_of(d), row(bytes, lists, d, list, to));
    std::fill_n(source, bytes_of(d), std::byte{});
  }
};

}  // namespace mneme::inline MNEME_ABI::store
