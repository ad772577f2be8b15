// SPDX-License-Identifier: Apache-2.0
// What all layouts share: the shape of a cache, and rows of channels as rows of a codec.
#pragma once
#include "../../math/encode.hpp"
#include "../../op/attention.hpp"

namespace mneme::inline MNEME_ABI {

// What a key/value store holds: one list of entries per key/value head.
struct kv_shape {
  index_t lists = 1;
  index_t d_key = 1, d_value = 1;
  index_t pinned =
      0;  // entries that never leave: the oldest ones, under a policy that otherwise evicts in order
};

namespace store {

// A layout says under which policies it can keep its promise: legal<Policy>.
template <class Store, class Policy>
concept Under = bool(Store::template legal<Policy>);

namespace detail {

// d channels as one row of the codec, whole blocks.
template <class Codec>
struct row_codec {
  static constexpr index_t bytes(index_t d) {
    return row_bytes(Codec::type, kv_rows<Codec::type>::padded(d));
  }

  template <class T>
  static void encode(const T* x, index_t d, std::byte* out) {
    const index_t block = info(Codec::type).block, whole = d / block * block;
    encode_row(Codec::type, x, whole, out);
    if (whole == d) return;
    T padded[decode_group] = {};
    std::copy_n(x + whole, d - whole, padded);
    encode_row(Codec::type, padded, block, out + row_bytes(Codec::type, whole));
  }
};

}  // namespace detail

}  // namespace store

}  // namespace mneme::inline MNEME_ABI
