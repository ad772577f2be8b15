// SPDX-License-Identifier: Apache-2.0
// Weights kept a second time, 64 rows side by side: the order in which products read them fastest.
#pragma once
#include "decode.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Rows in blocks of 64; within a block columns in groups of 32; within a group the elements of the stored
// type in their order, each for all 64 rows in turn. So a group of q4_1 is 64 scales, 64 minima and then, for
// every byte of codes, that byte of 64 rows: a pack of neighbouring outputs loads with one instruction, no
// sum crosses lanes, and scales cost one product per group and pack. Same bytes as the rows; rows beyond the
// last whole block are not repeated.

// One group of 32 columns (fewer at the ragged end of a plain type) of a block of rows, seen through packs of
// rows.
template <dtype D>
struct interleaved_group {
  static constexpr index_t element_bytes = info(D).block > 1 ? 1 : info(D).block_bytes;
  static constexpr bool scaled = info(D).block > 1, has_minimum = D == dtype::q4_1;
  static constexpr index_t head_bytes = (scaled + has_minimum) * 2;  // per row
  static constexpr bool nibbles = D == dtype::q4_0 || D == dtype::q4_1;
  static constexpr int zero = D == dtype::q4_0 ? 8 : 0;  // the code of the number 0

  // The factor, and the minimum, of rows [row, row + width<P>).
  template <class P>
  static P scale(const std::byte* group, index_t row) {
    return simd::load_f16<P>(group + 2 * row);
  }
  template <class P>
  static P minimum(const std::byte* group, index_t row) {
    return simd::load_f16<P>(group + 2 * (interleaved_rows + row));
  }
  // A partial sum of numbers times inputs, scaled and added to `sum`; `inputs` is the sum of the inputs.
  template <class P>
  static P added(const std::byte* group, index_t row, P part, P sum, simd::element<P> inputs) {
    if constexpr (!scaled)
      return part;
    else if constexpr (!has_minimum)
      return simd::fma(scale<P>(group, row), part, sum);
    else
      return simd::fma(minimum<P>(group, row), P(inputs), simd::fma(scale<P>(group, row), part, sum));
  }
  // A whole group is read in 16 pairs of columns, the two of one byte or neighbours: which, and their numbers
  // still to be scaled.
  static constexpr index_t first(index_t pair) { return nibbles ? pair : 2 * pair; }
  static constexpr index_t second(index_t pair) { return nibbles ? pair + decode_group / 2 : 2 * pair + 1; }
  template <class P>
  static void columns(const std::byte* group, index_t pair, index_t row, P& a, P& b) {
    if constexpr (nibbles) {
      const auto* q =
          reinterpret_cast<const std::uint8_t*>(group) + (head_bytes + pair) * interleaved_rows + row;
      if constexpr (simd::looks_up_nibbles<P>) {
        simd::look_up_nibbles(q, simd::iota<P>() - P(zero), &a, &b);
      } else {
        a = simd::load_nibbles<P, false>(q) - P(zero);
        b = simd::load_nibbles<P, true>(q) - P(zero);
      }
    } else {
      a = column<P>(group, first(pair), row);
      b = column<P>(group, second(pair), row);
    }
  }
  // Asks for what columns(group, pair) reads of all rows. Inlined by force: gcc drops calls of functions that
  // only prefetch.
  [[gnu::always_inline]] static void prefetch(const std::byte* group, index_t pair) {
    constexpr index_t lines = nibbles ? 1 : 2 * element_bytes;  // of 64 bytes: one byte of all rows each
    const auto* line = group + (head_bytes + pair * lines) * interleaved_rows;
    for (index_t i = 0; i < lines; ++i) __builtin_prefetch(line + i * interleaved_rows);
  }
  // Column j of a type that does not pack two into a byte.
  template <class P>
  static P column(const std::byte* group, index_t j, index_t row) {
    const auto* p = group + head_bytes * interleaved_rows + (j * interleaved_rows + row) * element_bytes;
    if constexpr (D == dtype::q8_0)
      return simd::load_i8<P>(reinterpret_cast<const std::int8_t*>(p));
    else if constexpr (D == dtype::bf16)
      return simd::load_bf16<P>(p);
    else if constexpr (D == dtype::f16)
      return simd::load_f16<P>(p);
    else {
      static_assert(D == dtype::f32 || nibbles, "a new storage type says here how its columns are read");
      return simd::load<P>(reinterpret_cast<const float*>(p));
    }
  }
};

// The block that row n, a multiple of 64, begins.
inline const std::byte* interleaved_block(const weight& w, index_t n) {
  return w.interleaved() + n * row_bytes(w.type(), w.cols());
}
// Storage types that products in float32 read interleaved.
constexpr bool interleaves(dtype d) { return d != dtype::f64; }

namespace detail {
// Bytes [at, end) of 64 rows, `stride` bytes apart, as elements of `Size` bytes: each of all rows in turn, to
// `out`.
template <index_t Size>
std::byte* transposed(const std::byte* row, index_t stride, index_t at, index_t end, std::byte* out) {
  for (; at < end; at += Size)
    for (index_t r = 0; r < interleaved_rows; ++r, out += Size)
      std::memcpy(out, row + r * stride + at, static_cast<std::size_t>(Size));
  return out;
}
}  // namespace detail

// w with its rows kept a second time, interleaved: as many bytes again (a mapped file's pages need not stay
// in memory then). Products in float32 read these. w itself if it has less than one block of rows or a type
// without such form.
inline weight interleaved(weight w) {
  if (w.interleaved() || w.rows() < interleaved_rows || !interleaves(w.type())) return w;
  const index_t bytes = row_bytes(w.type(), w.cols()), blocks = w.rows() / interleaved_rows;
  auto copy = std::make_shared<buffer<std::byte>>(blocks * interleaved_rows * bytes);
  std::byte* out = copy->data();
  with_dtype(w.type(), [&](auto type) {
    using group = interleaved_group<type()>;
    const index_t stored_group = row_bytes(type(), decode_group);
    for (index_t n = 0; n < blocks * interleaved_rows; n += interleaved_rows)
      for (index_t from = 0; from < bytes; from += stored_group) {
        const auto* row = static_cast<const std::byte*>(w.row(n));
        out = detail::transposed<2>(row, bytes, from, from + group::head_bytes, out);
        out = detail::transposed<group::element_bytes>(row, bytes, from + group::head_bytes,
                                                       std::min(bytes, from + stored_group), out);
      }
  });
  const std::byte* start = copy->data();
  w.interleaved_ = {std::move(copy), start};
  return w;
}

}  // namespace mneme::inline MNEME_ABI
