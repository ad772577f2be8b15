// SPDX-License-Identifier: Apache-2.0
// Rows of T to storage types.
#pragma once
#include "../core/weight.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI {

namespace detail {
inline void put_f16(std::byte* p, float x) {
  const std::uint16_t h = to_f16(x);
  std::memcpy(p, &h, sizeof h);
}
// ggml's quantisers: scales are rounded to binary16 for storage, codes are computed with the float32 scale.
// All else is in T, so that a model in double rounds where the exact computation rounds.
template <class T>
void encode_q8_0(const T* x, std::byte* out) {
  T largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const auto d = static_cast<float>(largest / 127);
  const T inverse = d != 0 ? T(1) / static_cast<T>(d) : T(0);
  put_f16(out, d);
  for (int i = 0; i < 32; ++i)
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * inverse)));
}
template <class Code>
void put_nibbles(std::byte* out, Code&& code) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<std::byte>(code(i) | (code(i + 16) << 4));
}
template <class T>
void encode_q4_1(const T* x, std::byte* out) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const auto d = static_cast<float>((*high - *low) / 15);
  const T inverse = d != 0 ? T(1) / static_cast<T>(d) : T(0), m = *low;
  put_f16(out, d);
  put_f16(out + 2, static_cast<float>(m));
  put_nibbles(out + 4, [&](int i) { return std::min(15, static_cast<int>((x[i] - m) * inverse + T(0.5))); });
}
template <class T>
void encode_q4_0(const T* x, std::byte* out) {
  T extreme = 0;  // signed value of largest magnitude, the first on ties
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  const auto d = static_cast<float>(extreme / -8);
  const T inverse = d != 0 ? T(1) / static_cast<T>(d) : T(0);
  put_f16(out, d);
  put_nibbles(out + 2, [&](int i) { return std::min(15, static_cast<int>(x[i] * inverse + T(8.5))); });
}
}  // namespace detail

// n elements of x to the storage type. Precondition: n fills whole blocks.
template <class T>
void encode_row(dtype type, const T* x, index_t n, std::byte* out) {
  const index_t block = info(type).block, bytes = info(type).block_bytes;
  for (index_t i = 0; i < n; i += block, x += block, out += bytes) switch (type) {
      case dtype::f32: {
        const auto v = static_cast<float>(*x);
        std::memcpy(out, &v, sizeof v);
        break;
      }
      case dtype::f64: {
        const auto v = static_cast<double>(*x);
        std::memcpy(out, &v, sizeof v);
        break;
      }
      case dtype::bf16: {
        const std::uint16_t v = to_bf16(static_cast<float>(*x));
        std::memcpy(out, &v, sizeof v);
        break;
      }
      case dtype::f16: detail::put_f16(out, static_cast<float>(*x)); break;
      case dtype::q8_0: detail::encode_q8_0(x, out); break;
      case dtype::q4_0: detail::encode_q4_0(x, out); break;
      case dtype::q4_1: detail::encode_q4_1(x, out); break;
    }
}

// A float32 weight in another storage type. Fails if its rows do not fill the blocks of that type.
inline weight stored_as(const weight& w, dtype type) {
  if (w.type() == type) return w;
  if (w.type() != dtype::f32)
    fail(message("cannot re-encode a ", info(w.type()).name, " weight, expected F32"));
  if (w.cols() % info(type).block != 0)
    fail(message("a row of ", w.cols(), " columns does not fill blocks of ", info(type).block, " (",
                 info(type).name, ")"));
  const index_t bytes = row_bytes(type, w.cols());
  buffer<std::byte> encoded(w.rows() * bytes);
  for (index_t r = 0; r < w.rows(); ++r)
    encode_row(type, data<float>(w) + r * w.cols(), w.cols(), encoded.data() + r * bytes);
  return weight::copy_of(encoded.data(), {w.dim(0), w.dim(1), w.dim(2)}, w.rank(), type);
}

}  // namespace mneme::inline MNEME_ABI
