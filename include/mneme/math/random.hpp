// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers for initialisation: the same seed gives the same weights everywhere.
#pragma once
#include "../core/weight.hpp"

#include <cmath>
#include <numbers>

namespace mneme::inline MNEME_ABI {

// splitmix64 of (seed, stream, counter): random access, no state to share.
class random_stream {
 public:
  random_stream(std::uint64_t seed, std::uint64_t stream) : key_(mix(mix(seed) + stream)) {}

  std::uint64_t bits() { return mix(key_ + 0x9e3779b97f4a7c15ull * ++counter_); }
  // In [0, 1).
  double unit() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * unit(); }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  static std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 30, x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27, x *= 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  std::uint64_t key_, counter_ = 0;
};

// A float32 weight whose elements are draw().
template <class Draw>
weight filled_weight(std::initializer_list<index_t> shape, Draw&& draw) {
  const index_t* d = shape.begin();
  weight w = weight::zeros<float>(d[0], shape.size() > 1 ? d[1] : -1, shape.size() > 2 ? d[2] : -1);
  float* x = edit<float>(w);
  for (index_t i = 0; i < w.size(); ++i) x[i] = static_cast<float>(draw());
  return w;
}
// The default of most frameworks: uniform in +-1/sqrt(fan in).
inline weight uniform_weight(std::initializer_list<index_t> shape, index_t fan_in, random_stream r) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return filled_weight(shape, [&] { return r.uniform(-bound, bound); });
}
inline weight constant_weight(std::initializer_list<index_t> shape, double value) {
  return filled_weight(shape, [value] { return value; });
}

}  // namespace mneme::inline MNEME_ABI
