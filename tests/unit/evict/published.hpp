// SPDX-License-Identifier: Apache-2.0
// Streams of 64 published numbers: K of seed 1, V of seed 2, Q three times seed 3.
#pragma once
#include <mneme/core/weight.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mneme_test {

namespace published {
inline constexpr mneme::index_t tokens = 64, d = 8;
}

// s <- 1664525 s + 1013904223 mod 2^32, x = (s >> 8) / 2^23 - 1.
inline std::vector<float> numbers(std::uint32_t s, float times = 1) {
  std::vector<float> x;
  for (mneme::index_t i = 0; i < published::tokens * published::d; ++i) {
    s = 1664525u * s + 1013904223u;
    x.push_back(times * (static_cast<float>(s >> 8) / 16777216.0f * 2 - 1));
  }
  return x;
}
// Rows [q, k, v], so that projections can select each of the three.
template <class T>
std::vector<T> published_stream() {
  const auto q = numbers(3, 3), k = numbers(1), v = numbers(2);
  std::vector<T> x;
  for (mneme::index_t at = 0; at < published::tokens * published::d; at += published::d)
    for (const auto* all : {&q, &k, &v})
      x.insert(x.end(), all->begin() + at, all->begin() + at + published::d);
  return x;
}
// rows x cols, row r selects column first + r.
inline mneme::weight selection(mneme::index_t rows, mneme::index_t cols, mneme::index_t first) {
  mneme::weight w = mneme::weight::zeros<float>(rows, cols);
  for (mneme::index_t r = 0; r < std::min(rows, cols); ++r) mneme::edit<float>(w)[r * cols + first + r] = 1;
  return w;
}

}  // namespace mneme_test
