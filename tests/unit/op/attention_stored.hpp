// SPDX-License-Identifier: Apache-2.0
// Random entries in their stored form, for the tests of attention.
#pragma once
#include <mneme/math/encode.hpp>
#include <mneme/op/attention.hpp>

#include "laws/matrix.hpp"

namespace attention_test {

using namespace mneme;
using namespace mneme_test;

// Slots further apart than they are long, NaN in between.
template <dtype D>
class stored_entries {
 public:
  stored_entries(index_t size, index_t d_key, index_t d_value)
      : d_key_(d_key), d_value_(d_value), size_(size) {
    keys_ = stored(random_rows<float>(size, d_key, 0, 11), key_stride_);
    values_ = stored(random_rows<float>(size, d_value, 0, 12), value_stride_);
  }
  kv_rows<D> first(index_t n) const {
    return {keys_.data() + shift, values_.data() + shift, key_stride_, value_stride_, d_key_, d_value_, n};
  }
  kv_rows<D> all() const { return first(size_); }

 private:
  static constexpr index_t shift = info(D).block == 1 ? info(D).block_bytes : 1;  // misaligned for packs

  static std::vector<std::byte> stored(const matrix<float>& rows, index_t& stride) {
    const index_t padded = kv_rows<D>::padded(rows.cols());
    stride = row_bytes(D, padded) + 3 * info(D).block_bytes;
    std::vector<std::byte> bytes(static_cast<std::size_t>(rows.rows() * stride + shift), std::byte{0xff});
    for (index_t r = 0; r < rows.rows(); ++r) {
      std::vector<float> row(static_cast<std::size_t>(padded));
      std::copy(rows.view()[r].begin(), rows.view()[r].end(), row.begin());
      encode_row(D, row.data(), padded, bytes.data() + shift + r * stride);
    }
    return bytes;
  }
  index_t d_key_, d_value_, size_, key_stride_ = 0, value_stride_ = 0;
  std::vector<std::byte> keys_, values_;
};

}  // namespace attention_test
