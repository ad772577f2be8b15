// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../core/fields.hpp"
#include "detail/layout.hpp"
#include "detail/low_bits.hpp"

namespace mneme::inline MNEME_ABI::store {

// Where the parts of a cache lie, in bytes. Rows are padded to whole groups of 32 channels.
template <int Bits>
struct kivi_layout {
  using coded = detail::low_bits<Bits>;
  static constexpr index_t group = coded::count;

  index_t lists, d_key, d_value;

  static index_t groups(index_t d) { return (d + group - 1) / group; }
  index_t key_codes() const { return groups(d_key) * coded::bytes; }            // of one token
  index_t key_scales() const { return groups(d_key) * group * 2; }              // steps; as many for zeros
  index_t key_group() const { return 2 * key_scales() + group * key_codes(); }  // of one list
  index_t value_row() const { return groups(d_value) * (4 + coded::bytes); }    // of one token and list
};

// Entries of one list.
template <int Bits>
struct kivi_rows {
  using coded = detail::low_bits<Bits>;
  using layout = kivi_layout<Bits>;
  template <class T>
  static constexpr bool in_place = false;

  layout at;
  const std::byte *key_groups, *value_rows;  // of this list: the first group, the first token
  const float *recent_keys, *recent_values;  // of this list: token 0
  index_t d_key, d_value, size;

  index_t width() const { return layout::groups(std::max(d_key, d_value)) * layout::group; }
  template <class Arch, class T>
  const T* key_row(index_t i, T* scratch) const noexcept {
    const index_t of_group = i / layout::group, in_group = i % layout::group;
    if (of_group == (size - 1) / layout::group)
      return plain(recent_keys + in_group * at.lists * d_key, d_key, scratch);
    using P = simd::pack<T, Arch>;
    const std::byte* steps = key_groups + of_group * at.lists * at.key_group();
    const std::byte *zeros = steps + at.key_scales(),
                    *codes = zeros + at.key_scales() + in_group * at.key_codes();
    for (index_t c = 0; c < d_key; c += layout::group, codes += coded::bytes)
      coded::template decode<P>(codes, scratch + c, [=](index_t k, P q) {
        return simd::fma(q, simd::load_f16<P>(steps + 2 * (c + k)), simd::load_f16<P>(zeros + 2 * (c + k)));
      });
    return scratch;
  }
  template <class Arch, class T>
  const T* value_row(index_t i, T* scratch) const noexcept {
    if (i >= size - layout::group)
      return plain(recent_values + i % layout::group * at.lists * d_value, d_value, scratch);
    using P = simd::pack<T, Arch>;
    const std::byte* stored = value_rows + i * at.lists * at.value_row();
    for (index_t c = 0; c < d_value; c += layout::group, stored += 4 + coded::bytes) {
      const P step(static_cast<T>(from_f16(load_unaligned_word<std::uint16_t>(stored))));
      const P zero(static_cast<T>(from_f16(load_unaligned_word<std::uint16_t>(stored + 2))));
      coded::template decode<P>(stored + 4, scratch + c,
                                [=](index_t, P q) { return simd::fma(q, step, zero); });
    }
    return scratch;
  }

 private:
  template <class T>
  static const T* plain(const float* row, index_t d, T* scratch) noexcept {
    if constexpr (std::is_same_v<T, float>) return row;
    std::copy_n(row, d, scratch);
    return scratch;
  }
};

// Layout and codec in one: entries in codes of 2 or 4 bits between the minimum and the maximum of 32 values,
// the newest tokens as float32. Entries never move: for caches that only grow.
//   key_groups     [size / 32][lists] of 32 tokens: step and zero of every channel over these tokens, then
//   their codes
//   value_rows     [size - 32][lists] per token and 32 channels: step, zero, codes
//   recent_keys    [32][lists][d_key] token t in row t mod 32: the last group, coded when the next one begins
//   recent_values  [32][lists][d_value] the newest 32 tokens, token t in row t mod 32
// Bits + 1 bits per channel. Error at most half a step and the rounding of step and zero to binary16; none
// within the first 32 tokens.
// Source: Liu et al., "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", 2024, section 3 and
// algorithm 1, with group size and residual length 32.
// Deviations: a full group of keys is coded before the next token instead of after the last, which no answer
// sees; the newest value counts among the 32; a group of equal values gives these (the authors' code divides
// 0 by 0).
template <int Bits>
struct kivi {
  struct codec {
    static constexpr const char* name = Bits == 2 ? "2" : "4";
  };
  static constexpr const char* name = "kivi";
  static constexpr double rounding = detail::low_bits<Bits>::rounding;
  static constexpr bool shares = false;
  template <class Policy>
  static constexpr bool legal = !Policy::bounded;

  buffer<std::byte> key_groups, value_rows;
  buffer<float> recent_keys, recent_values;

  friend bool operator==(const kivi&, const kivi&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("key_groups", s.key_groups...);
    f("value_rows", s.value_rows...);
    f("recent_keys", s.recent_keys...);
    f("recent_values", s.recent_values...);
  }

  // Precondition: slots is 0.
  static kivi with_slots(const kv_shape&, [[maybe_unused]] index_t slots, place where) {
    return {buffer<std::byte>(0, std::byte{}, where), buffer<std::byte>(0, std::byte{}, where),
            buffer<float>(0, 0, where), buffer<float>(0, 0, where)};
  }
  bool holds(const kv_shape& shape, index_t n, [[maybe_unused]] index_t dropped = 0) const {
    const auto filled = [&](const auto& b, index_t each, index_t count) {
      return b.size() % (shape.lists * each) == 0 && b.size() / (shape.lists * each) == count;
    };
    const layout at = layout_of(shape);
    const index_t recent = std::min(n, group);
    return filled(key_groups, at.key_group(), full_groups(n)) &&
           filled(value_rows, at.value_row(), n - recent) && filled(recent_keys, shape.d_key, recent) &&
           filled(recent_values, shape.d_value, recent);
  }
  void reserve(const kv_shape& shape, index_t slots) {
    const layout at = layout_of(shape);
    const index_t recent = shape.lists * std::min(slots, group);
    key_groups.reserve(full_groups(slots) * shape.lists * at.key_group());
    value_rows.reserve((slots - std::min(slots, group)) * shape.lists * at.value_row());
    recent_keys.reserve(recent * shape.d_key);
    recent_values.reserve(recent * shape.d_value);
  }
  // Precondition: slots is at least as many as there are. Codes what is not recent any more.
  void resize(const kv_shape& shape, index_t slots) {
    for (index_t t = size(shape); t < slots; ++t) {
      if (t > 0 && t % group == 0) code_keys(shape, t / group - 1);
      if (t >= group) code_values(shape, t - group);
      if (t >= group) continue;
      recent_keys.resize((t + 1) * shape.lists * shape.d_key);
      recent_values.resize((t + 1) * shape.lists * shape.d_value);
    }
  }

  // Precondition: slot is the newest.
  template <class T>
  void write(const kv_shape& shape, index_t list, index_t slot, const T* key, const T* value) noexcept {
    const index_t row = slot % group * shape.lists + list;
    for (index_t c = 0; c < shape.d_key; ++c) recent_keys[row * shape.d_key + c] = static_cast<float>(key[c]);
    for (index_t c = 0; c < shape.d_value; ++c)
      recent_values[row * shape.d_value + c] = static_cast<float>(value[c]);
  }
  kivi_rows<Bits> rows(const kv_shape& shape, index_t list, index_t n) const noexcept {
    const layout at = layout_of(shape);
    return {at,
            key_groups.data() + list * at.key_group(),
            value_rows.data() + list * at.value_row(),
            recent_keys.data() + list * shape.d_key,
            recent_values.data() + list * shape.d_value,
            shape.d_key,
            shape.d_value,
            n};
  }

 private:
  using layout = kivi_layout<Bits>;
  using coded = detail::low_bits<Bits>;
  static constexpr index_t group = layout::group;

  static layout layout_of(const kv_shape& shape) { return {shape.lists, shape.d_key, shape.d_value}; }
  static index_t full_groups(index_t n) { return n > 0 ? (n - 1) / group : 0; }
  index_t size(const kv_shape& shape) const {
    return (recent_keys.size() / shape.d_key + value_rows.size() / layout_of(shape).value_row()) /
           shape.lists;
  }
  static void put_scale(const typename coded::scale& s, std::byte* step, std::byte* zero) {
    mneme::detail::put_f16(step, s.step);
    mneme::detail::put_f16(zero, s.zero);
  }

  void code_keys(const kv_shape& shape, index_t of_group) {
    const layout at = layout_of(shape);
    key_groups.resize((of_group + 1) * shape.lists * at.key_group());
    for (index_t list = 0; list < shape.lists; ++list) {
      std::byte* steps = key_groups.data() + (of_group * shape.lists + list) * at.key_group();
      std::byte *zeros = steps + at.key_scales(), *codes = zeros + at.key_scales();
      for (index_t c = 0; c < shape.d_key; ++c) {
        const auto value = [&](index_t t) { return recent_keys[(t * shape.lists + list) * shape.d_key + c]; };
        float low = value(0), high = low;
        for (index_t t = 1; t < group; ++t) low = std::min(low, value(t)), high = std::max(high, value(t));
        const auto s = coded::scale::between(low, high);
        put_scale(s, steps + 2 * c, zeros + 2 * c);
        for (index_t t = 0; t < group; ++t)
          coded::put(codes + t * at.key_codes() + c / group * coded::bytes, c % group, s.code(value(t)));
      }
    }
    std::fill(recent_keys.begin(), recent_keys.end(), 0.0f);
  }
  void code_values(const kv_shape& shape, index_t token) {
    const layout at = layout_of(shape);
    value_rows.resize((token + 1) * shape.lists * at.value_row());
    for (index_t list = 0; list < shape.lists; ++list) {
      const float* x = recent_values.data() + (token % group * shape.lists + list) * shape.d_value;
      std::byte* out = value_rows.data() + (token * shape.lists + list) * at.value_row();
      for (index_t c = 0; c < shape.d_value; c += group, out += 4 + coded::bytes) {
        const index_t n = std::min(group, shape.d_value - c);
        const auto [low, high] = std::minmax_element(x + c, x + c + n);
        const auto s = coded::scale::between(*low, *high);
        put_scale(s, out, out + 2);
        for (index_t k = 0; k < n; ++k) coded::put(out + 4, k, s.code(x[c + k]));
      }
    }
  }
};

}  // namespace mneme::inline MNEME_ABI::store
