// SPDX-License-Identifier: Apache-2.0
// Product keys against brute force over a million of them.
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "product_key_case.hpp"

#include <algorithm>

using namespace mneme;
using mneme_test::matrix;
using product_key_test::selected;
using product_key_test::selection;

namespace {

constexpr index_t n = 1000;  // sub-keys: n^2 keys

// The k best of all sums: value descending, then id ascending.
template <class T>
selection<T> brute_force(const matrix<T>& s1, const matrix<T>& s2, std::size_t k) {
  selection<T> best;
  for (index_t id = 0; id < n * n; ++id) {
    const T sum = s1.view()[0][id / n] + s2.view()[0][id % n];
    if (best.value.size() == k && !(sum > best.value.back())) continue;
    const auto at =
        std::upper_bound(best.value.begin(), best.value.end(), sum, std::greater<T>()) - best.value.begin();
    best.value.insert(best.value.begin() + at, sum);
    best.id.insert(best.id.begin() + at, id);
    if (best.value.size() > k) best.value.pop_back(), best.id.pop_back();
  }
  return best;
}

template <class T>
void equals_brute_force(bool exact_sums, const std::function<double()>& draw) {
  matrix<T> s1(1, n), s2(1, n);
  for (T& v : s1.view()[0]) v = static_cast<T>(draw());
  for (T& v : s2.view()[0]) v = static_cast<T>(draw());
  const auto all = brute_force(s1, s2, 100);
  for (const index_t k : {1, 32, 100}) {
    const auto got = selected<T>(mneme_test::native_of<product_key_select, T>, s1, s2, k);
    CHECK(std::equal(got.value.begin(), got.value.end(), all.value.begin()));
    if (exact_sums) CHECK(std::equal(got.id.begin(), got.id.end(), all.id.begin()));
    for (std::size_t m = 0; m < got.id.size(); ++m)
      CHECK(s1.view()[0][got.id[m] / n] + s2.view()[0][got.id[m] % n] == got.value[m]);
  }
}

}  // namespace

TEST_CASE("product_key_select equals brute force over 10^6 keys, ties by index") {
  random_stream random(3, 3);
  equals_brute_force<float>(false, [&] { return random.normal(); });
  equals_brute_force<float>(true, [&] { return std::round(random.normal() * 1e5); });  // few ties
  equals_brute_force<float>(true, [&] { return std::round(random.normal()); });        // many ties
  equals_brute_force<double>(true, [] { return 0.5; });                                // nothing but ties
}

TEST_CASE("product_key_address equals brute force over 10^6 keys, ties by index") {
  // Small integers: all products and sums are exact, and many scores equal.
  constexpr index_t dk = 5, k = 50;
  random_stream random(3, 4);
  const auto digit = [&] { return std::round(random.normal() * 2); };
  const weight K = filled_weight({2, n, dk}, digit);
  matrix<float> Q(2, 2 * dk), w(2, k), s1(1, n), s2(1, n);
  matrix<index_t> ids(2, k);
  for (index_t r = 0; r < 2; ++r)
    for (float& q : Q.view()[r]) q = static_cast<float>(digit());
  context ctx;
  kernel<product_key_address, native>::run<float>(ctx, K, k, product_key_gate::relu, Q, ids.view(), w.view());
  for (index_t r = 0; r < 2; ++r) {
    for (index_t i = 0; i < n; ++i)
      for (matrix<float>* s : {&s1, &s2}) {
        const index_t half = s == &s2;
        float sum = 0;
        for (index_t d = 0; d < dk; ++d)
          sum += data<float>(K)[(half * n + i) * dk + d] * Q.view()[r][half * dk + d];
        s->view()[0][i] = sum;
      }
    const auto expected = brute_force(s1, s2, k);
    CHECK(std::equal(expected.id.begin(), expected.id.end(), ids.view()[r].begin()));
    for (index_t m = 0; m < k; ++m)
      CHECK(w.view()[r][m] == std::max(expected.value[static_cast<std::size_t>(m)], 0.0f));
  }
}
