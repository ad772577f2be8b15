// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/random.hpp>
#include <mneme/store/codec/bf16.hpp>
#include <mneme/store/codec/f16.hpp>
#include <mneme/store/codec/f32.hpp>
#include <mneme/store/codec/q4_0.hpp>
#include <mneme/store/codec/q8_0.hpp>
#include <mneme/store/contiguous.hpp>

#include "catch.hpp"

using namespace mneme;

namespace {

// Lists x d values for one slot, different for every slot.
std::vector<float> values(const kv_shape& shape, index_t d, index_t slot) {
  random_stream random(static_cast<std::uint64_t>(slot), static_cast<std::uint64_t>(d));
  std::vector<float> all(static_cast<std::size_t>(shape.lists * d));
  for (float& x : all) x = static_cast<float>(random.normal());
  return all;
}
template <class Store>
void write(Store& s, const kv_shape& shape, index_t slot, index_t token) {
  const auto k = values(shape, shape.d_key, token), v = values(shape, shape.d_value, token + 1000);
  for (index_t l = 0; l < shape.lists; ++l)
    s.write(shape, l, slot, k.data() + l * shape.d_key, v.data() + l * shape.d_value);
}
template <class Store>
std::vector<float> decoded(const Store& s, const kv_shape& shape, index_t list, index_t slot, bool key) {
  const auto rows = s.rows(shape, list, slot + 1);
  const index_t d = key ? shape.d_key : shape.d_value;
  std::vector<float> x(static_cast<std::size_t>(rows.padded(d)));
  const std::byte* stored = key ? rows.key(slot) : rows.value(slot);
  decode_row<Store::codec::type, simd::scalar>(stored, rows.padded(d), x.data());
  x.resize(static_cast<std::size_t>(d));
  return x;
}
// What the codec makes of row `list` of `all`.
template <class Codec>
std::vector<float> rounded(const std::vector<float>& all, index_t list, index_t d) {
  const auto n = static_cast<std::size_t>(kv_rows<Codec::type>::padded(d));
  std::vector<float> x(n), out(n);
  std::copy_n(all.begin() + list * d, d, x.begin());
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(Codec::type, static_cast<index_t>(n))));
  encode_row(Codec::type, x.data(), static_cast<index_t>(n), bytes.data());
  decode_row<Codec::type, simd::scalar>(bytes.data(), static_cast<index_t>(n), out.data());
  out.resize(static_cast<std::size_t>(d));
  return out;
}

const kv_shape shapes[] = {{1, 1, 1}, {3, 8, 8}, {2, 32, 64}, {2, 33, 7}, {5, 40, 96}};

}  // namespace

TEMPLATE_TEST_CASE("entries are kept as the codec rounds them", "", store::f32, store::f16, store::bf16,
                   store::q8_0, store::q4_0) {
  using store_t = store::contiguous<TestType>;
  for (const kv_shape& shape : shapes) {
    CAPTURE(shape.lists, shape.d_key, shape.d_value);
    auto s = store_t::with_slots(shape, 4, {});
    CHECK(s.slots(shape) == 4);
    for (index_t slot : {2, 0, 3, 1}) write(s, shape, slot, slot);
    for (index_t slot = 0; slot < 4; ++slot)
      for (index_t l = 0; l < shape.lists; ++l) {
        CHECK(decoded(s, shape, l, slot, true) ==
              rounded<TestType>(values(shape, shape.d_key, slot), l, shape.d_key));
        CHECK(decoded(s, shape, l, slot, false) ==
              rounded<TestType>(values(shape, shape.d_value, slot + 1000), l, shape.d_value));
      }
  }
}

TEMPLATE_TEST_CASE("float and double rows are stored alike", "", store::f32, store::q8_0, store::q4_0) {
  const kv_shape shape{1, 37, 5};
  auto a = store::contiguous<TestType>::with_slots(shape, 1, {}), b = a;
  const auto k = values(shape, 37, 0), v = values(shape, 5, 1);
  const std::vector<double> k64(k.begin(), k.end()), v64(v.begin(), v.end());
  a.write(shape, 0, 0, k.data(), v.data());
  b.write(shape, 0, 0, k64.data(), v64.data());
  CHECK(a == b);
}

TEMPLATE_TEST_CASE("moving an entry touches its list only and leaves zeros", "", store::f32, store::q8_0) {
  using store_t = store::contiguous<TestType>;
  for (const kv_shape& shape : shapes) {
    auto s = store_t::with_slots(shape, 4, {}), expected = s;
    for (index_t slot = 0; slot < 4; ++slot) write(s, shape, slot, slot);
    for (index_t slot = 0; slot < 3; ++slot) write(expected, shape, slot, slot == 1 ? 3 : slot);
    for (index_t l = 0; l < shape.lists; ++l) s.move(shape, l, 3, 1);
    CHECK(s == expected);  // slot 3 is zero again: that of a new store

    const auto before = s;
    s.move(shape, 0, 2, 2);  // from a slot to itself: dropped
    for (float x : decoded(s, shape, 0, 2, true)) CHECK(x == 0);
    for (index_t l = 1; l < shape.lists; ++l)
      CHECK(decoded(s, shape, l, 2, false) == decoded(before, shape, l, 2, false));
  }
}

TEST_CASE("a store grows slot by slot and keeps what it has") {
  const kv_shape shape{2, 3, 5};
  store::contiguous<store::f32> s = store::contiguous<store::f32>::with_slots(shape, 0, {});
  CHECK(s.slots(shape) == 0);
  s.reserve(shape, 10);
  const std::byte* at = s.keys.data();
  for (index_t slot = 0; slot < 10; ++slot) {
    s.resize(shape, slot + 1);
    write(s, shape, slot, slot);
  }
  CHECK(s.keys.data() == at);
  CHECK(s.slots(shape) == 10);
  CHECK(s.keys.size() == 10 * 2 * 3 * 4);
  CHECK(s.values.size() == 10 * 2 * 5 * 4);
  for (index_t slot = 0; slot < 10; ++slot)
    CHECK(decoded(s, shape, 1, slot, true) == rounded<store::f32>(values(shape, 3, slot), 1, 3));
}

TEST_CASE("rows of a block codec are padded with zeros to whole blocks") {
  using q8 = store::contiguous<store::q8_0>;
  static_assert(q8::bytes_of(32) == 34);
  static_assert(q8::bytes_of(33) == 68);
  static_assert(q8::bytes_of(1) == 34);
  static_assert(store::contiguous<store::f32>::bytes_of(33) == 132);
  const kv_shape shape{1, 33, 1};
  auto s = q8::with_slots(shape, 1, {});
  write(s, shape, 0, 0);
  for (index_t i = 34 + 2 + 1; i < 68; ++i) CHECK(s.keys[i] == std::byte{});
}

TEMPLATE_TEST_CASE("errors of entries are those that the codec states", "", store::f16, store::bf16,
                   store::q8_0, store::q4_0) {
  const kv_shape shape{1, 64, 64};
  auto s = store::contiguous<TestType>::with_slots(shape, 1, {});
  write(s, shape, 0, 3);
  const auto exact = values(shape, 64, 3), stored = decoded(s, shape, 0, 0, true);
  const auto allowed = static_cast<float>(store::contiguous<TestType>::rounding);
  float worst = 0;
  for (std::size_t from : {0u, 32u}) {
    float largest = 0;
    for (std::size_t i = from; i < from + 32; ++i) largest = std::max(largest, std::abs(exact[i]));
    for (std::size_t i = from; i < from + 32; ++i)
      worst = std::max(worst, std::abs(stored[i] - exact[i]) / largest);
  }
  CHECK(worst <= allowed);
  CHECK(worst > allowed / 8);
}

TEST_CASE("a store is a regular value with named parts") {
  using f32 = store::contiguous<store::f32>;
  const kv_shape shape{1, 2, 3};
  auto s = f32::with_slots(shape, 2, {});
  const auto fork = s;
  write(s, shape, 0, 0);
  CHECK_FALSE(s == fork);
  static_assert(CompleteFields<f32>);
  std::vector<std::string> names;
  visit_fields([&](const field_path& at, auto&) { names.push_back(at.text()); }, s);
  CHECK(names == std::vector<std::string>{"keys", "values"});
  CHECK(footprint(s).owned == 2 * (2 + 3) * 4);
}
