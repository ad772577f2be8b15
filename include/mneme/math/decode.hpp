// SPDX-License-Identifier: Apache-2.0
// Stored rows (f32, bf16, f16, q8_0, q4_0, q4_1, f64) to packs and to rows of T.
#pragma once
#include "../core/weight.hpp"
#include "simd.hpp"

#include <utility>

namespace mneme::inline MNEME_ABI {

// Columns are decoded in groups of 32, the block of the quantised types; a plain type may end in a ragged
// group.
inline constexpr index_t decode_group = 32;

// A stored row seen through packs. The value of an element never depends on the pack it is decoded in.
template <dtype D>
struct row_decoder {
  static constexpr index_t group_bytes = row_bytes(D, decode_group);

  // The 32 values at `p` as 32 / width<P> packs.
  template <class P>
  static void group(const std::byte* p, P* out) {
    constexpr index_t W = simd::width<P>, n = decode_group / W;
    if constexpr (D == dtype::q8_0) {
      const P d(scale<P>(p));
      const auto* q = reinterpret_cast<const std::int8_t*>(p + 2);
      unrolled<n>([&](index_t i) { out[i] = d * simd::load_i8<P>(q + i * W); });
    } else if constexpr (D == dtype::q4_1 || D == dtype::q4_0) {
      static_assert(W <= 16, "a half block of 16 values holds whole packs");
      const P d(scale<P>(p));
      const P m(D == dtype::q4_1 ? scale<P>(p + 2) : simd::element<P>(-8));
      const auto value = [d, m](P code) { return D == dtype::q4_1 ? simd::fma(d, code, m) : d * (code + m); };
      const auto* q = reinterpret_cast<const std::uint8_t*>(p + (D == dtype::q4_1 ? 4 : 2));
      if constexpr (simd::looks_up_nibbles<P>) {
        simd::look_up_nibbles(q, value(simd::iota<P>()), out, out + 1);
      } else {
        unrolled<n / 2>([&](index_t i) {
          out[i] = value(simd::load_nibbles<P, false>(q + i * W));
          out[i + n / 2] = value(simd::load_nibbles<P, true>(q + i * W));
        });
      }
    } else {
      unrolled<n>([&](index_t i) { out[i] = plain<P>(p, i * W); });
    }
  }
  // Element k of a ragged last group (plain types only).
  template <class T>
  static T tail(const std::byte* p, index_t k) {
    if constexpr (info(D).block == 1)
      return plain<T>(p, k);
    else
      return T(0);  // unreachable: rows of block types are whole blocks
  }

 private:
  template <class P>
  static simd::element<P> scale(const std::byte* p) {
    return simd::element<P>(simd::load_one_f16(p));
  }
  template <class P>
  static P plain(const std::byte* p, index_t k) {
    using T = simd::element<P>;
    if constexpr (D == dtype::bf16) {
      return simd::load_bf16<P>(p + 2 * k);
    } else if constexpr (D == dtype::f16) {
      return simd::load_f16<P>(p + 2 * k);
    } else if constexpr (D == dtype_of<T>) {
      return simd::load<P>(reinterpret_cast<const T*>(p) + k);
    } else {
      using stored = std::conditional_t<D == dtype::f64, double, float>;
      const auto* x = reinterpret_cast<const stored*>(p) + k;
      return simd::detail::gather_lanes<P>([x](index_t i) { return x[i]; });
    }
  }
};

// f(std::integral_constant<dtype, D>) for the run-time type: the one switch over storage types.
template <class F>
constexpr decltype(auto) with_dtype(dtype t, F&& f) {
  switch (t) {
    case dtype::f64: return f(std::integral_constant<dtype, dtype::f64>{});
    case dtype::bf16: return f(std::integral_constant<dtype, dtype::bf16>{});
    case dtype::f16: return f(std::integral_constant<dtype, dtype::f16>{});
    case dtype::q8_0: return f(std::integral_constant<dtype, dtype::q8_0>{});
    case dtype::q4_0: return f(std::integral_constant<dtype, dtype::q4_0>{});
    case dtype::q4_1: return f(std::integral_constant<dtype, dtype::q4_1>{});
    case dtype::f32: break;
  }
  return f(std::integral_constant<dtype, dtype::f32>{});
}

// A whole row of n columns to out[n].
template <dtype D, class Arch, class T>
void decode_row(const void* row, index_t n, T* out) {
  using P = simd::pack<T, Arch>;
  constexpr index_t W = simd::width<P>, packs = decode_group / W;
  const auto* p = static_cast<const std::byte*>(row);
  index_t k = 0;
  for (; k + decode_group <= n; k += decode_group, p += row_decoder<D>::group_bytes) {
    P x[static_cast<std::size_t>(packs)];
    row_decoder<D>::group(p, x);
    unrolled<packs>([&](index_t i) { simd::store(out + k + i * W, x[i]); });
  }
  for (index_t i = 0; k + i < n; ++i) out[k + i] = row_decoder<D>::template tail<T>(p, i);
}
template <class Arch, class T>
void decode_row(dtype type, const void* row, index_t n, T* out) {
  with_dtype(type, [&](auto d) { decode_row<d(), Arch>(row, n, out); });
}

// All elements of a weight as T, in a table [rows, cols] that kernels can read.
template <class T>
weight decoded(const weight& w) {
  weight table = weight::zeros<T>(w.rows(), w.cols());
  T* out = edit<T>(table);
  for (index_t r = 0; r < w.rows(); ++r)
    decode_row<simd::scalar>(w.type(), w.row(r), w.cols(), out + r * w.cols());
  return table;
}
// Rows become columns, in a table of T.
template <class T>
weight transposed(const weight& table) {
  weight result = weight::zeros<T>(table.cols(), table.rows());
  const T* from = data<T>(table);
  T* to = edit<T>(result);
  for (index_t r = 0; r < table.rows(); ++r)
    for (index_t c = 0; c < table.cols(); ++c) to[c * table.rows() + r] = from[r * table.cols() + c];
  return result;
}

}  // namespace mneme::inline MNEME_ABI
