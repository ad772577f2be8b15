// SPDX-License-Identifier: Apache-2.0
// What the tests of stores share: numbered entries, and stores as the rows that they hold.
#pragma once
#include <mneme/math/random.hpp>
#include <mneme/store/detail/layout.hpp>

#include <vector>

namespace mneme_test {

using mneme::index_t;
using mneme::kv_shape;

// The d values of one list's row of a token.
inline std::vector<float> row_of(index_t token, index_t list, index_t d, bool key) {
  mneme::random_stream draw(static_cast<std::uint64_t>(2 * token + key), static_cast<std::uint64_t>(list));
  std::vector<float> x;
  for (index_t c = 0; c < d; ++c) x.push_back(static_cast<float>(draw.normal()));
  return x;
}
template <class Store>
void write_token(Store& s, const kv_shape& shape, index_t list, index_t slot, index_t token) {
  s.write(shape, list, slot, row_of(token, list, shape.d_key, true).data(),
          row_of(token, list, shape.d_value, false).data());
}
// Row `i` of the first n, keys then values, as attention sees it.
template <class Store>
std::vector<float> seen(const Store& s, const kv_shape& shape, index_t list, index_t i, index_t n) {
  const auto rows = s.rows(shape, list, n);
  std::vector<float> scratch(static_cast<std::size_t>(rows.width()));
  const float* key = rows.template key_row<mneme::simd::native>(i, scratch.data());
  std::vector<float> x(key, key + shape.d_key);
  const float* value = rows.template value_row<mneme::simd::native>(i, scratch.data());
  x.insert(x.end(), value, value + shape.d_value);
  return x;
}
template <class A, class B>
bool same_rows(const A& a, const B& b, const kv_shape& shape, index_t n) {
  for (index_t list = 0; list < shape.lists; ++list)
    for (index_t i = 0; i < n; ++i)
      if (seen(a, shape, list, i, n) != seen(b, shape, list, i, n)) return false;
  return true;
}

}  // namespace mneme_test
