// SPDX-License-Identifier: Apache-2.0
// matrix: rows that a law feeds or reads, with a poisoned surrounding that nobody may touch.
#pragma once
#include <mneme/core/view.hpp>
#include <mneme/math/random.hpp>

#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace mneme_test {

using mneme::context;
using mneme::index_t;
using mneme::token_id;

template <class E>
constexpr E poison() {
  if constexpr (std::is_floating_point_v<E>)
    return std::numeric_limits<E>::quiet_NaN();
  else
    return E{-77};
}

template <class E>
bool same_bits(const E* a, const E* b, index_t n) {
  return n == 0 || std::memcmp(a, b, sizeof(E) * static_cast<std::size_t>(n)) == 0;
}

// Where rows lie: `gap` elements between two rows, `shift` elements after an aligned address.
struct placement {
  index_t gap = 0, shift = 0;
};
inline constexpr placement ugly{.gap = 3, .shift = 1};

// Rows x cols elements, all poison until written.
template <class E>
class matrix {
 public:
  matrix() = default;
  matrix(index_t rows, index_t cols, placement p = {}, E fill = poison<E>())
      : all_(static_cast<std::size_t>(rows * (cols + p.gap) + p.shift + margin), poison<E>()),
        rows_(rows),
        cols_(cols),
        stride_(cols + p.gap),
        shift_(p.shift) {
    for (index_t r = 0; r < rows; ++r) std::fill(view()[r].begin(), view()[r].end(), fill);
  }
  // The same elements elsewhere.
  matrix(mneme::mat_view<const E> of, placement p) : matrix(of.rows(), of.cols(), p) {
    for (index_t r = 0; r < rows_; ++r) std::copy(of[r].begin(), of[r].end(), view()[r].begin());
  }

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  mneme::mat_view<E> view() { return {all_.data() + shift_, rows_, cols_, stride_}; }
  mneme::mat_view<const E> view() const { return {all_.data() + shift_, rows_, cols_, stride_}; }
  operator mneme::mat_view<const E>() const { return view(); }

  // Whether everything around the rows is still poison.
  bool surrounding_untouched() const {
    std::vector<E> rest = all_;
    for (index_t r = 0; r < rows_; ++r) std::fill_n(rest.begin() + shift_ + r * stride_, cols_, poison<E>());
    const std::vector<E> expected(rest.size(), poison<E>());
    return same_bits(rest.data(), expected.data(), static_cast<index_t>(rest.size()));
  }
  friend bool operator==(const matrix& a, const matrix& b) {
    return a.all_.size() == b.all_.size() &&
           same_bits(a.all_.data(), b.all_.data(), static_cast<index_t>(a.all_.size()));
  }

 private:
  static constexpr index_t margin = 16;
  std::vector<E> all_;
  index_t rows_ = 0, cols_ = 0, stride_ = 0, shift_ = 0;
};

// Standard normal rows, or token ids: mostly of the vocabulary, some outside of it.
template <class E>
matrix<E> random_rows(index_t rows, index_t cols, index_t vocabulary, std::uint64_t seed) {
  matrix<E> X(rows, cols);
  mneme::random_stream random(seed, 7);
  for (index_t r = 0; r < rows; ++r)
    for (E& x : X.view()[r])
      if constexpr (std::is_floating_point_v<E>)
        x = static_cast<E>(random.normal());
      else
        x = static_cast<E>(random.unit() * static_cast<double>(vocabulary + 2)) - 1;
  return X;
}

// The rows as the double-precision oracle reads them.
template <class E>
auto widened(mneme::mat_view<const E> X) {
  using wide = std::conditional_t<std::is_floating_point_v<E>, double, E>;
  matrix<wide> Y(X.rows(), X.cols());
  for (index_t r = 0; r < X.rows(); ++r) std::copy(X[r].begin(), X[r].end(), Y.view()[r].begin());
  return Y;
}

}  // namespace mneme_test
