// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/vector.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/matrix.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::same_bits;
using mneme_test::test_archs;

namespace {

constexpr index_t lengths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 67, 130};

// One misaligned random row with NaN around it.
template <class T>
matrix<T> guarded_row(index_t n, std::uint64_t seed) {
  return {mneme_test::random_rows<T>(1, n, 0, seed).view(), {0, 1}};
}
template <class T>
constexpr T eps = std::numeric_limits<T>::epsilon();

template <class Arch, class T>
void check_sums() {
  for (index_t n : lengths) {
    CAPTURE(n);
    const auto x = guarded_row<T>(n, 1), y = guarded_row<T>(n, 2);
    const T *a = x.view().data(), *b = y.view().data();
    double sum = 0, magnitude = 0;
    for (index_t i = 0; i < n; ++i) {
      sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      magnitude += std::abs(static_cast<double>(a[i]) * static_cast<double>(b[i]));
    }
    const double bound = 8 * eps<T> * magnitude;
    CHECK(std::abs(static_cast<double>(dot<Arch>(n, a, b)) - sum) <= bound);

    auto z = y;
    axpy<Arch>(n, T(0.75), a, z.view().data());
    CHECK(z.surrounding_untouched());
    for (index_t i = 0; i < n; ++i) {
      const T error = z.view()[0][i] - (b[i] + T(0.75) * a[i]);
      CHECK(std::abs(error) <= 2 * eps<T> * (std::abs(a[i]) + std::abs(b[i])));
    }

    auto mapped = y;
    map_row<Arch>(n, a, mapped.view().data(), []<class P>(P v) { return v * v; });
    CHECK(mapped.surrounding_untouched());
    for (index_t i = 0; i < n; ++i) CHECK(mapped.view()[0][i] == a[i] * a[i]);
  }
}

template <class Arch, class T>
void check_softmax() {
  for (index_t n : lengths)
    for (T times : {T(1), T(30), T(2000)}) {
      if (n == 0) continue;
      CAPTURE(n, times);
      auto x = guarded_row<T>(n, 4);
      for (T& v : x.view()[0]) v *= times;
      auto p = x;
      const T log_sum = softmax<Arch>(n, p.view().data());
      CHECK(p.surrounding_untouched());
      double highest = -1e300, total = 0, sum = 0;
      for (T v : x.view()[0]) highest = std::max(highest, static_cast<double>(v));
      for (T v : x.view()[0]) total += std::exp(static_cast<double>(v) - highest);
      for (index_t i = 0; i < n; ++i) {
        const double expected = std::exp(static_cast<double>(x.view()[0][i]) - highest) / total;
        CHECK(std::abs(static_cast<double>(p.view()[0][i]) - expected) <= 32 * eps<T>);
        sum += static_cast<double>(p.view()[0][i]);
      }
      CHECK(std::abs(sum - 1) <= 16 * eps<T>);
      const double log_expected = highest + std::log(total);
      const double error = static_cast<double>(log_sum) - log_expected;
      CHECK(std::abs(error) <= 8 * eps<T> * (1 + std::abs(log_expected)));
    }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("dot, axpy and map_row over all lengths", "", test_archs) {
  check_sums<TestType, float>();
  check_sums<TestType, double>();
}

TEMPLATE_LIST_TEST_CASE("softmax over all lengths and magnitudes", "", test_archs) {
  check_softmax<TestType, float>();
  check_softmax<TestType, double>();
}

TEMPLATE_LIST_TEST_CASE("scores of minus infinity get no probability", "", test_archs) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (index_t n : {1, 5, 16, 33}) {
    auto x = guarded_row<float>(n, 6);
    for (index_t i = 0; i < n; i += 2) x.view()[0][i] = -inf;
    const bool some = n > 1;
    const float log_sum = softmax<TestType>(n, x.view().data());
    CHECK((log_sum > -inf) == some);
    float sum = 0;
    for (index_t i = 0; i < n; ++i) {
      if (i % 2 == 0) CHECK(x.view()[0][i] == 0);
      sum += x.view()[0][i];
    }
    CHECK(std::abs(sum - (some ? 1 : 0)) < 1e-6);
  }
}

TEMPLATE_LIST_TEST_CASE("for_packs covers every element once", "", test_archs) {
  for (index_t n : lengths) {
    std::vector<int> seen(static_cast<std::size_t>(n));
    for_packs<float, TestType>(n, [&]<class P>(index_t i) {
      for (index_t k = 0; k < simd::width<P>; ++k) ++seen[static_cast<std::size_t>(i + k)];
    });
    for (int times : seen) CHECK(times == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("a dot product has the same bits at any alignment", "", test_archs) {
  const auto x = mneme_test::random_rows<float>(1, 77, 0, 8), y = mneme_test::random_rows<float>(1, 77, 0, 9);
  const float expected = dot<TestType>(77, x.view().data(), y.view().data());
  for (index_t shift : {1, 2, 3, 5, 7}) {
    const matrix<float> a(x.view(), {0, shift}), b(y.view(), {0, 2 * shift});
    const float got = dot<TestType>(77, a.view().data(), b.view().data());
    CHECK(same_bits(&got, &expected, 1));
  }
}
