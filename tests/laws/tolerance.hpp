// SPDX-License-Identifier: Apache-2.0
// The one place of the tolerances of the laws: c * eps * growth * scale.
#pragma once
#include <mneme/core/view.hpp>

#include <cmath>
#include <limits>

namespace mneme_test {

// How far two computations of one result may be apart.
//   eps      rounding of T, the type that the library computes in
//   growth   sqrt(width * (1 + rows)): rounding errors of a sum of `width` products, carried through `rows`
//            steps of a recurrence that does not amplify, add up like a random walk
//   scale    largest magnitude of the expected result, at least `floor`: what is far smaller than the
//            inputs is a difference of larger numbers and inherits their rounding
//   moved    how far the double reference itself moves when its inputs are off by a rounding of T: a layer
//            may amplify errors (the unit length of a short key), and nobody can do better than that
//   storage  what a store rounds off by design: a value next to a rounding boundary may fall to either side
struct tolerance {
  static constexpr double c = 8, floor = 1e-3, c_storage = 4;

  double eps;
  double storage = 0;
  mneme::index_t rows, width;
  double moved = 0;

  double of(double scale) const {
    const double growth = std::sqrt(static_cast<double>(width) * (1 + static_cast<double>(rows)));
    return (c * eps * growth + c_storage * storage) * std::max(scale, floor) + c * growth * moved;
  }
};

template <class T>
inline constexpr double epsilon = std::numeric_limits<T>::epsilon();

}  // namespace mneme_test
