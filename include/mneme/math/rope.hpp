// SPDX-License-Identifier: Apache-2.0
// Rotary positions: pairs of channels turned by an angle that grows with the position.
#pragma once
#include "../core/buffer.hpp"
#include "simd.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mneme::inline MNEME_ABI {

// Which channels form pair i of d / 2: (2i, 2i + 1), as in the original and in GGUF files, or (i, i + d / 2),
// as in Hugging Face checkpoints.
enum class rope_pairs : std::uint8_t { interleaved, half_split };

// How angles are stretched for streams longer than those that a model was trained on. A pair turns
// r = trained frequency / (2 pi) times over the trained length: with r >= many it keeps its frequency, with r
// <= few it gets 1 / factor of it, in between a mixture, linear in r (llama3) or in the pair's number (yarn,
// which also multiplies queries and keys by `amplitude`).
// Source: llama3: Grattafiori et al., "The Llama 3 Herd of Models", 2024, with the published code; yarn: Peng
// et al.,
// "YaRN: Efficient Context Window Extension of Large Language Models", 2023, section 3.
enum class rope_stretch : std::uint8_t { none, llama3, yarn };
struct rope_scaling {
  rope_stretch how = rope_stretch::none;
  double factor = 1;
  double trained = 8192;     // positions of the original context
  double few = 1, many = 0;  // turns; many 0: 4 for llama3, 32 for yarn
  double amplitude = 0;      // yarn: 0: 0.1 ln(factor) + 1
};

// Angle of pair i at position p: p base^(-2i / d). Angles are formed in double: float32 angles cost 2e-4 at
// position 4095.
// Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34.
class rope {
 public:
  rope() = default;
  rope(index_t d, double base, rope_pairs pairs, const rope_scaling& scaling = {})
      : frequencies_(d / 2), pairs_(pairs) {
    for (index_t i = 0; i < frequencies_.size(); ++i)
      frequencies_[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(d));
    if (scaling.how == rope_stretch::llama3) stretch_by_turns(scaling);
    if (scaling.how == rope_stretch::yarn) stretch_by_pair(scaling, static_cast<double>(d), std::log(base));
  }

  index_t pairs() const { return frequencies_.size(); }
  // Cosines and sines of all pairs at a position: table [2 pairs()], cosine first.
  template <class T>
  void angles(index_t position, row_view<T> table) const noexcept {
    for (index_t i = 0; i < pairs(); ++i) {
      const double a = static_cast<double>(position) * frequencies_[i];
      table[2 * i] = static_cast<T>(amplitude_ * std::cos(a));
      table[2 * i + 1] = static_cast<T>(amplitude_ * std::sin(a));
    }
  }
  // The mean of the tables of `count` >= 1 positions from `first`: what rotations by them do on average.
  template <class T>
  void mean_angles(index_t first, index_t count, row_view<T> table) const noexcept {
    const double n = static_cast<double>(count), middle = static_cast<double>(first) + (n - 1) / 2;
    for (index_t i = 0; i < pairs(); ++i) {
      const double half = frequencies_[i] / 2, one = std::sin(half);
      const double length = amplitude_ * (std::abs(one) > 1e-12 ? std::sin(n * half) / (n * one) : 1.0);
      table[2 * i] = static_cast<T>(length * std::cos(middle * frequencies_[i]));
      table[2 * i + 1] = static_cast<T>(length * std::sin(middle * frequencies_[i]));
    }
  }
  // Turns the first 2 pairs() channels of x in place; the others carry no position.
  template <class T, class U>
  void rotate(row_view<const T> table, U* x) const noexcept {
    for (index_t i = 0; i < pairs(); ++i)
      turn_pair(i, static_cast<U>(table[2 * i]), static_cast<U>(table[2 * i + 1]), x);
  }
  // The same without a table, at the price of a cosine and a sine per pair.
  template <class U>
  void turn(index_t position, U* x) const noexcept {
    for (index_t i = 0; i < pairs(); ++i) {
      const double a = static_cast<double>(position) * frequencies_[i];
      turn_pair(i, static_cast<U>(amplitude_ * std::cos(a)), static_cast<U>(amplitude_ * std::sin(a)), x);
    }
  }

 private:
  template <class U>
  void turn_pair(index_t i, U c, U s, U* x) const noexcept {
    U& a = pairs_ == rope_pairs::interleaved ? x[2 * i] : x[i];
    U& b = pairs_ == rope_pairs::interleaved ? x[2 * i + 1] : x[i + pairs()];
    const U turned = simd::fma(a, c, -(b * s));
    b = simd::fma(a, s, b * c);
    a = turned;
  }
  void stretch_by_turns(const rope_scaling& s) {
    const double many = s.many > 0 ? s.many : 4;
    for (double& f : frequencies_) {
      const double turns = s.trained * f / (2 * std::numbers::pi);
      const double kept = std::clamp((turns - s.few) / (many - s.few), 0.0, 1.0);
      f *= kept + (1 - kept) / s.factor;
    }
  }
  void stretch_by_pair(const rope_scaling& s, double d, double log_base) {
    // The pair, as a real number, that turns so many times over the trained length.
    const auto pair = [&](double turns) {
      return d * std::log(s.trained / (turns * 2 * std::numbers::pi)) / (2 * log_base);
    };
    const double low = std::max(std::floor(pair(s.many > 0 ? s.many : 32)), 0.0);
    const double high = std::min(std::ceil(pair(s.few)), d - 1), width = high > low ? high - low : 0.001;
    for (index_t i = 0; i < pairs(); ++i) {
      const double kept = 1 - std::clamp((static_cast<double>(i) - low) / width, 0.0, 1.0);
      frequencies_[i] *= kept + (1 - kept) / s.factor;
    }
    amplitude_ = s.amplitude > 0 ? s.amplitude : 0.1 * std::log(s.factor) + 1;
  }

  buffer<double> frequencies_;
  double amplitude_ = 1;
  rope_pairs pairs_ = rope_pairs::interleaved;
};

}  // namespace mneme::inline MNEME_ABI
