// SPDX-License-Identifier: Apache-2.0
// How unequal the channels of a row are on the scale of later rows.
#pragma once
#include "../../core/view.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI::evict::detail {

// u <- softmax over the rows of the deviation over channels of (x - min) / (max - min), min and max of each
// channel over the rows `next`; mean: room for as many numbers as u.
template <class T>
void spread_of_partition(mat_view<const T> rows, mat_view<const T> next, row_view<double> mean,
                         row_view<double> u) {
  std::fill(mean.begin(), mean.end(), 0.0);
  std::fill(u.begin(), u.end(), 0.0);
  for (index_t c = 0; c < rows.cols(); ++c) {
    T low = next[0][c], high = low;
    for (index_t r = 1; r < next.rows(); ++r)
      low = std::min(low, next[r][c]), high = std::max(high, next[r][c]);
    const double range = static_cast<double>(high) - static_cast<double>(low);
    for (index_t i = 0; i < rows.rows(); ++i) {
      const double x = range > 0 ? static_cast<double>(rows[i][c] - low) / range : 0, step = x - mean[i];
      mean[i] += step / static_cast<double>(c + 1);
      u[i] += step * (x - mean[i]);
    }
  }
  double total = 0;
  for (double& x : u)
    total += x = std::exp(std::sqrt(x / std::max(static_cast<double>(rows.cols() - 1), 1.0)));
  for (double& x : u) x /= total;
}

}  // namespace mneme::inline MNEME_ABI::evict::detail
