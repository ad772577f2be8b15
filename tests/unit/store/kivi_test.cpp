// SPDX-License-Identifier: Apache-2.0
// Codes of 2 and 4 bits against the formulas, their errors, and what is still in full precision.
#include <mneme/store/codec/f32.hpp>
#include <mneme/store/contiguous.hpp>
#include <mneme/store/kivi.hpp>

#include "catch.hpp"
#include "unit/store/stored.hpp"

using namespace mneme;
using mneme_test::row_of;
using mneme_test::seen;

namespace {

using exact = store::contiguous<store::f32>;

template <class Store>
void grow(Store& s, const kv_shape& shape, index_t from, index_t to) {
  for (index_t t = from; t < to; ++t) {
    s.resize(shape, t + 1);
    for (index_t list = 0; list < shape.lists; ++list) mneme_test::write_token(s, shape, list, t, t);
  }
}
template <class Store>
Store grown(const kv_shape& shape, index_t n) {
  auto s = Store::with_slots(shape, 0, {});
  grow(s, shape, 0, n);
  return s;
}

// A group of values as the paper rounds them, with scales of binary16.
std::vector<double> rounded(const std::vector<float>& x, int bits, double* bound) {
  const double low = *std::min_element(x.begin(), x.end()), high = *std::max_element(x.begin(), x.end());
  const int most = (1 << bits) - 1;
  const double step = from_f16(to_f16(static_cast<float>((high - low) / most)));
  const double zero = from_f16(to_f16(static_cast<float>(low)));
  std::vector<double> y;
  for (float v : x) {
    const double q =
        step > 0 ? std::clamp(std::nearbyint((v - zero) / step), 0.0, static_cast<double>(most)) : 0;
    y.push_back(q * step + zero);
  }
  *bound = step / 2 + (std::abs(low) + (high - low)) * 0x1p-11;  // what binary16 rounds off both ends
  return y;
}

template <int Bits>
void check(const kv_shape& shape, index_t n) {
  CAPTURE(Bits, shape.lists, shape.d_key, shape.d_value, n);
  const auto s = grown<store::kivi<Bits>>(shape, n);
  REQUIRE(s.holds(shape, n));
  const index_t coded_keys = (n - 1) / 32 * 32, coded_values = std::max<index_t>(n - 32, 0);
  double bound = 0;
  for (index_t list = 0; list < shape.lists; ++list) {
    for (index_t t = 0; t < n; ++t) {
      const auto got = seen(s, shape, list, t, n);
      const auto key = row_of(t, list, shape.d_key, true), value = row_of(t, list, shape.d_value, false);
      if (t >= coded_keys) REQUIRE(std::equal(key.begin(), key.end(), got.begin()));
      if (t >= coded_values) REQUIRE(std::equal(value.begin(), value.end(), got.begin() + shape.d_key));
      for (index_t c = 0; t < coded_values && c < shape.d_value; c += 32) {
        const std::vector<float> group(value.begin() + c, value.begin() + std::min(c + 32, shape.d_value));
        const auto expected = rounded(group, Bits, &bound);
        for (std::size_t k = 0; k < group.size(); ++k) {
          const double x = got[static_cast<std::size_t>(shape.d_key + c) + k];
          REQUIRE(std::abs(x - expected[k]) < 1e-6);
          REQUIRE(std::abs(x - static_cast<double>(group[k])) <= bound);
        }
      }
    }
    for (index_t from = 0; from < coded_keys; from += 32)
      for (index_t c = 0; c < shape.d_key; ++c) {
        std::vector<float> group;
        for (index_t t = from; t < from + 32; ++t)
          group.push_back(row_of(t, list, shape.d_key, true)[static_cast<std::size_t>(c)]);
        const auto expected = rounded(group, Bits, &bound);
        for (index_t t = 0; t < 32; ++t) {
          const double x = seen(s, shape, list, from + t, n)[static_cast<std::size_t>(c)];
          REQUIRE(std::abs(x - expected[static_cast<std::size_t>(t)]) < 1e-6);
          REQUIRE(std::abs(x - static_cast<double>(group[static_cast<std::size_t>(t)])) <= bound);
        }
      }
  }
}

}  // namespace

TEST_CASE("keys are coded per channel, values per token, the newest not") {
  for (const kv_shape& shape : {kv_shape{1, 1, 1}, {2, 32, 64}, {3, 40, 7}})
    for (index_t n : {1, 33, 64, 65, 100}) {
      check<2>(shape, n);
      check<4>(shape, n);
    }
}

TEST_CASE("up to 32 tokens kivi is f32") {
  const kv_shape shape{2, 24, 40};
  for (index_t n : {1, 31, 32}) {
    const auto plain = grown<exact>(shape, n);
    CHECK(mneme_test::same_rows(grown<store::kivi<2>>(shape, n), plain, shape, n));
    CHECK(mneme_test::same_rows(grown<store::kivi<4>>(shape, n), plain, shape, n));
  }
  CHECK_FALSE(mneme_test::same_rows(grown<store::kivi<4>>(shape, 33), grown<exact>(shape, 33), shape, 33));
}

TEST_CASE("groups of equal, infinite and missing values") {
  using coded = store::detail::low_bits<2>;
  const auto constant = coded::scale::between(1.5f, 1.5f);
  CHECK(constant.step == 0);
  CHECK(constant.code(1.5f) == 0);
  CHECK(constant.zero == 1.5f);
  const auto s = coded::scale::between(-1, 2);
  CHECK(s.code(std::nanf("")) == 0);
  CHECK(s.code(-5) == 0);
  CHECK(s.code(1e30f) == 3);
  CHECK(s.code(0.5f) == 2);  // (0.5 + 1) / 1 = 1.5, ties to even
}

TEST_CASE("codes lie in their bits") {
  std::byte two[8] = {}, four[16] = {};
  float out[32];
  for (index_t i = 0; i < 32; ++i) {
    store::detail::low_bits<2>::put(two, i, static_cast<std::uint8_t>(i % 4));
    store::detail::low_bits<4>::put(four, i, static_cast<std::uint8_t>(i % 16));
  }
  const auto as_they_are = [](index_t, auto q) { return q; };
  store::detail::low_bits<2>::decode<simd::pack<float, simd::native>>(two, out, as_they_are);
  for (index_t i = 0; i < 32; ++i) CHECK(out[i] == static_cast<float>(i % 4));
  store::detail::low_bits<4>::decode<float>(four, out, as_they_are);
  for (index_t i = 0; i < 32; ++i) CHECK(out[i] == static_cast<float>(i % 16));
}

TEMPLATE_TEST_CASE("a kivi store is a regular value that grows where room was reserved", "", store::kivi<2>,
                   store::kivi<4>) {
  const kv_shape shape{2, 33, 5};
  static_assert(CompleteFields<TestType>);
  auto s = TestType::with_slots(shape, 0, {});
  CHECK(s == TestType());
  CHECK(s.holds(shape, 0));
  s.reserve(shape, 100);
  const void* at[] = {s.key_groups.data(), s.value_rows.data(), s.recent_keys.data(), s.recent_values.data()};
  grow(s, shape, 0, 70);
  const auto fork = s;
  grow(s, shape, 70, 100);
  const void* still[] = {s.key_groups.data(), s.value_rows.data(), s.recent_keys.data(),
                         s.recent_values.data()};
  for (int i = 0; i < 4; ++i) CHECK(at[i] == still[i]);
  CHECK(fork == grown<TestType>(shape, 70));
  CHECK(s == grown<TestType>(shape, 100));
  CHECK(s.holds(shape, 100));
  CHECK_FALSE(s.holds(shape, 99));
  CHECK_FALSE(s.holds(shape, 128));
  const auto bits = [](std::size_t d) { return 8.0 * static_cast<double>(d); };
  const kv_shape wide{1, 64, 64};
  const double per_channel = bits(footprint(grown<TestType>(wide, 32 * 65)).owned) / (2 * 64 * 32 * 64.0);
  CHECK(per_channel < (std::is_same_v<TestType, store::kivi<2>> ? 2 : 4) + 1 + 0.6);
}
