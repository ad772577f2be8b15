// SPDX-License-Identifier: Apache-2.0
// Golden tensors as what the library takes: weights and matrices.
#pragma once
#include <mneme/core/weight.hpp>

#include "golden.hpp"
#include "laws/matrix.hpp"

#include <cmath>
#include <initializer_list>

namespace mneme_test {

// As a float32 weight (golden weights are stored as such), in another shape if one is given; empty if absent.
inline mneme::weight golden_weight(const golden& file, std::string_view in_case, std::string_view name,
                                   std::initializer_list<index_t> shape = {}) {
  if (!file.has(in_case, name)) return {};
  const auto values = file.values(in_case, name);
  const std::vector<float> narrow(values.begin(), values.end());
  const auto stored = file.shape(in_case, name);
  const std::vector<index_t> dims = shape.size() > 0 ? std::vector<index_t>(shape) : stored;
  std::array<index_t, 3> d{1, 1, 1};
  std::copy(dims.begin(), dims.end(), d.begin());
  return mneme::weight::copy_of(narrow.data(), d, static_cast<int>(dims.size()), mneme::dtype::f32);
}

// As a matrix of Ts whose last dimension is the columns, or with another number of columns.
template <class T>
matrix<T> golden_matrix(const golden& file, std::string_view in_case, std::string_view name,
                        index_t cols = 0) {
  const auto values = file.values(in_case, name);
  if (cols == 0) cols = file.shape(in_case, name).back();
  matrix<T> m(static_cast<index_t>(values.size()) / cols, cols);
  for (std::size_t i = 0; i < values.size(); ++i) m.view().data()[i] = static_cast<T>(values[i]);
  return m;
}

// Largest distance from the golden values, relative to the largest of them.
template <class T>
double golden_error(mneme::mat_view<const T> got, const matrix<double>& expected) {
  double error = 0, scale = 0;
  for (index_t r = 0; r < got.rows(); ++r)
    for (index_t c = 0; c < got.cols(); ++c) {
      const double want = expected.view()[r][c], distance = std::abs(static_cast<double>(got[r][c]) - want);
      error = distance > error || std::isnan(distance) ? distance : error;
      scale = std::max(scale, std::abs(want));
    }
  return error / scale;
}

}  // namespace mneme_test
