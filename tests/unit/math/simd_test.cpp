// SPDX-License-Identifier: Apache-2.0
// Packs compute as single lanes do, where an instruction set has only estimates to start from.
#include <mneme/math/vector.hpp>

#include "arch_list.hpp"
#include "catch.hpp"

#include <cmath>
#include <vector>

using namespace mneme;

namespace {

template <class T>
std::vector<T> all_magnitudes() {
  std::vector<T> x = {T(0), std::numeric_limits<T>::infinity(), std::numeric_limits<T>::denorm_min()};
  for (int exponent = -125; exponent <= 125; ++exponent)
    for (int i = 0; i < 19; ++i) x.push_back(std::ldexp(T(1) + static_cast<T>(i) / T(19), exponent));
  return x;
}
template <class Arch, class T>
void roots() {
  const std::vector<T> x = all_magnitudes<T>();
  std::vector<T> y(x.size());
  map_row<Arch>(static_cast<index_t>(x.size()), x.data(), y.data(),
                []<class P>(P v) { return simd::sqrt(v); });
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(y[i] == std::sqrt(x[i]));
  }
}
// 3 / x; an estimate of 1 / x in two steps is off by two roundings.
template <class Arch, class T>
void quotients() {
  const std::vector<T> x = all_magnitudes<T>();
  std::vector<T> y(x.size());
  map_row<Arch>(static_cast<index_t>(x.size()), x.data(), y.data(), []<class P>(P v) { return P(T(3)) / v; });
  CHECK(y[0] == std::numeric_limits<T>::infinity());
  CHECK(y[1] == 0);
  for (std::size_t i = 3; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(std::abs(y[i] - T(3) / x[i]) <= 2 * std::numeric_limits<T>::epsilon() * y[i]);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("roots are the nearest numbers", "", mneme_test::test_archs) {
  roots<TestType, float>();
  roots<TestType, double>();
}
TEMPLATE_LIST_TEST_CASE("quotients", "", mneme_test::test_archs) {
  quotients<TestType, float>();
  quotients<TestType, double>();
}
