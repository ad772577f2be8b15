// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "product_key_case.hpp"

#include <algorithm>

using namespace mneme;
using namespace mneme_test;
using product_key_test::selected;
using product_key_test::selection;
using product_key_test::ugly;

namespace {

// The values of brute force bit for bit, each an existing sum, no pair twice; with exact sums also the same
// pairs.
template <class T>
std::string fault(const selection<T>& got, const selection<T>& expected, const matrix<T>& s1,
                  const matrix<T>& s2, bool exact_sums) {
  if (!same_bits(got.value.data(), expected.value.data(), static_cast<index_t>(got.value.size())))
    return "other values";
  if (exact_sums && got.id != expected.id) return "other pairs";
  for (std::size_t m = 0; m < got.id.size(); ++m) {
    const index_t id = got.id[m], n2 = s2.cols();
    if ((id >= 0) != (expected.id[m] >= 0)) return "another number of pairs";
    if (id < 0) continue;
    if (s1.view()[0][id / n2] + s2.view()[0][id % n2] != got.value[m]) return "not the sum of a pair";
    if (std::count(got.id.begin(), got.id.end(), id) != 1) return "a pair twice";
  }
  return {};
}
template <class T, class Draw>
void select_equals_brute_force(index_t n1, index_t n2, bool exact_sums, Draw&& draw) {
  matrix<T> s1(1, n1, ugly), s2(1, n2, ugly);
  for (T& v : s1.view()[0]) v = static_cast<T>(draw());
  for (T& v : s2.view()[0]) v = static_cast<T>(draw());
  for (const index_t k :
       {index_t{1}, index_t{2}, index_t{5}, index_t{16}, index_t{37}, n1 * n2, n1 * n2 + 2}) {
    const auto expected = selected<T>(reference_of<product_key_select, T>, s1, s2, k);
    for (const auto& [arch, run] : kernels_of<product_key_select, T>()) {
      CAPTURE(arch, n1, n2, k, sizeof(T));
      const auto got = selected<T>(run, s1, s2, k);
      CHECK(fault(got, expected, s1, s2, exact_sums) == "");
      CHECK(selected<T>(run, s1, s2, k) == got);
    }
  }
  CHECK(s1.surrounding_untouched());
}
void select_equals_brute_force(bool exact_sums, const std::function<double()>& draw) {
  for (const auto& [n1, n2] :
       std::initializer_list<std::pair<index_t, index_t>>{{1, 1}, {1, 7}, {5, 5}, {16, 3}, {40, 40}}) {
    select_equals_brute_force<float>(n1, n2, exact_sums, draw);
    select_equals_brute_force<double>(n1, n2, exact_sums, draw);
  }
}

}  // namespace

TEST_CASE("product_key_select equals brute force over all pairs", "[L16][product_key_select]") {
  random_stream random(2, 2);
  const double inf = std::numeric_limits<double>::infinity();
  SECTION("random") {
    select_equals_brute_force(false, [&] { return random.normal(); });
  }
  SECTION("exact sums, few ties") {
    select_equals_brute_force(true, [&] { return std::round(random.normal() * 1000); });
  }
  SECTION("exact sums, many ties") {
    select_equals_brute_force(true, [&] { return std::round(random.normal()); });
  }
  SECTION("all equal") {
    select_equals_brute_force(true, [] { return 1.5; });
  }
  SECTION("sums that round and overflow") {
    select_equals_brute_force(false,
                              [&] { return std::ldexp(random.normal(), random.unit() < 0.5 ? 20 : -20); });
    select_equals_brute_force(false, [&] { return random.normal() * 2e38; });
  }
  SECTION("NaN and -infinity") {
    select_equals_brute_force(true, [&] {
      const double u = random.unit();
      return u < 0.4 ? std::nan("") : u < 0.6 ? -inf : std::round(random.normal() * 100);
    });
    select_equals_brute_force(true, [] { return std::nan(""); });
  }
}
