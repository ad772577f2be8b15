// SPDX-License-Identifier: Apache-2.0
// Rotary positions: pairs of channels turned by an angle that grows with the position.
#pragma once
#include "../core/buffer.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// Which channels form pair i of d / 2: (2i, 2i + 1), as in the original and in GGUF files, or (i, i + d / 2), as in
// Hugging Face checkpoints.
enum class rope_pairs : std::uint8_t { interleaved, half_split };

// Angle of pair i at position p: p base^(-2i / d). Angles are formed in double: float32 angles cost 2e-4 at
// position 4095.
// Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34.
class rope {
 public:
  rope() = default;
  rope(index_t d, double base, rope_pairs pairs) : frequencies_(d / 2), pairs_(pairs) {
    for (index_t i = 0; i < frequencies_.size(); ++i)
      frequencies_[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(d));
  }

  index_t pairs() const { return frequencies_.size(); }
  // Cosines and sines of all pairs at a position: table [2 pairs()], cosine first.
  template <class T>
  void angles(index_t position, row_view<T> table) const noexcept {
    for (index_t i = 0; i < pairs(); ++i) {
      const double a = static_cast<double>(position) * frequencies_[i];
      table[2 * i] = static_cast<T>(std::cos(a));
      table[2 * i + 1] = static_cast<T>(std::sin(a));
    }
  }
  // Turns the first 2 pairs() channels of x in place; the others carry no position.
  template <class T>
  void rotate(row_view<const T> table, T* x) const noexcept {
    const index_t n = pairs();
    for (index_t i = 0; i < n; ++i) {
      T& a = pairs_ == rope_pairs::interleaved ? x[2 * i] : x[i];
      T& b = pairs_ == rope_pairs::interleaved ? x[2 * i + 1] : x[i + n];
      const T c = table[2 * i], s = table[2 * i + 1], turned = a * c - b * s;
      b = a * s + b * c;
      a = turned;
    }
  }

 private:
  buffer<double> frequencies_;
  rope_pairs pairs_ = rope_pairs::interleaved;
};

}  // namespace mneme::inline MNEME_ABI
