// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/random.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "product_key_case.hpp"

#include <algorithm>

using namespace mneme;
using mneme_test::matrix;
using mneme_test::same_bits;
using mneme_test::test_archs;
using product_key_test::selected;
using product_key_test::ugly;

namespace {

// The values of brute force bit for bit, each an existing sum, no pair twice; with exact sums also the same
// pairs.
template <class Arch, class T>
void select_equals_brute_force(const matrix<T>& s1, const matrix<T>& s2, bool exact_sums) {
  const index_t n1 = s1.cols(), n2 = s2.cols();
  for (const index_t k :
       {index_t{1}, index_t{2}, index_t{5}, index_t{16}, index_t{37}, n1 * n2, n1 * n2 + 2}) {
    CAPTURE(n1, n2, k, sizeof(T));
    const auto got = selected<cpu<Arch>>(s1, s2, k), expected = selected<reference>(s1, s2, k);
    CHECK(same_bits(got.value.data(), expected.value.data(), k));
    if (exact_sums) CHECK(got.id == expected.id);
    int wrong = 0;
    for (std::size_t m = 0; m < got.id.size(); ++m) {
      const index_t id = got.id[m];
      wrong += (id >= 0) != (expected.id[m] >= 0);
      if (id < 0) continue;
      wrong += s1.view()[0][id / n2] + s2.view()[0][id % n2] != got.value[m];
      wrong += std::count(got.id.begin(), got.id.end(), id) != 1;
    }
    CHECK(wrong == 0);
  }
}
template <class Arch, class Draw>
void select_equals_brute_force(bool exact_sums, Draw&& draw) {
  const auto check = [&]<class T>(T, index_t n1, index_t n2) {
    matrix<T> s1(1, n1, ugly), s2(1, n2, ugly);
    for (T& v : s1.view()[0]) v = static_cast<T>(draw());
    for (T& v : s2.view()[0]) v = static_cast<T>(draw());
    select_equals_brute_force<Arch, T>(s1, s2, exact_sums);
    CHECK(s1.surrounding_untouched());
  };
  for (const auto& [n1, n2] :
       std::initializer_list<std::pair<index_t, index_t>>{{1, 1}, {1, 7}, {5, 5}, {16, 3}, {40, 40}}) {
    check(float{}, n1, n2);
    check(double{}, n1, n2);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("product_key_select equals brute force over all pairs", "", test_archs) {
  random_stream random(2, 2);
  const double inf = std::numeric_limits<double>::infinity();
  SECTION("random") {
    select_equals_brute_force<TestType>(false, [&] { return random.normal(); });
  }
  SECTION("exact sums, few ties") {
    select_equals_brute_force<TestType>(true, [&] { return std::round(random.normal() * 1000); });
  }
  SECTION("exact sums, many ties") {
    select_equals_brute_force<TestType>(true, [&] { return std::round(random.normal()); });
  }
  SECTION("all equal") {
    select_equals_brute_force<TestType>(true, [] { return 1.5; });
  }
  SECTION("sums that round and overflow") {
    select_equals_brute_force<TestType>(
        false, [&] { return std::ldexp(random.normal(), random.unit() < 0.5 ? 20 : -20); });
    select_equals_brute_force<TestType>(false, [&] { return random.normal() * 2e38; });
  }
  SECTION("NaN and -infinity") {
    select_equals_brute_force<TestType>(true, [&] {
      const double u = random.unit();
      return u < 0.4 ? std::nan("") : u < 0.6 ? -inf : std::round(random.normal() * 100);
    });
    select_equals_brute_force<TestType>(true, [] { return std::nan(""); });
  }
}
