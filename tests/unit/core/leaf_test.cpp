// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/leaf.hpp>

#include "catch.hpp"

using namespace mneme;

namespace {

struct state {
  buffer<std::byte> bytes;
  buffer<index_t> positions;
  float scale = 2;
  std::int32_t step = 0;
  static constexpr void fields(auto&& f, auto&... s) {
    f("bytes", s.bytes...);
    f("positions", s.positions...);
    f("scale", s.scale...);
    f("step", s.step...);
  }
};

}  // namespace

TEST_CASE("element types") {
  static_assert(element_of<float>() == element::f32);
  static_assert(element_of<double>() == element::f64);
  static_assert(element_of<std::int8_t>() == element::i8);
  static_assert(element_of<std::byte>() == element::u8);
  static_assert(element_of<std::int16_t>() == element::i16);
  static_assert(element_of<std::uint16_t>() == element::u16);
  static_assert(element_of<std::int32_t>() == element::i32);
  static_assert(element_of<std::uint32_t>() == element::u32);
  static_assert(element_of<index_t>() == element::i64);
  static_assert(element_of<std::uint64_t>() == element::u64);
  SUCCEED();
}

TEST_CASE("buffers and scalars as leaves") {
  state s{buffer<std::byte>(5), buffer<index_t>(2, 7)};
  std::vector<leaf> all;
  std::vector<std::string> paths;
  visit_leaves(s, [&](const field_path& at, const leaf& l) {
    all.push_back(l);
    paths.push_back(at.text());
  });
  REQUIRE(all.size() == 4);
  CHECK(paths == std::vector<std::string>{"bytes", "positions", "scale", "step"});
  CHECK(all[0].type == element::u8);
  CHECK(all[0].bytes() == 5);
  CHECK(all[0].data == s.bytes.data());
  CHECK_FALSE(all[0].scalar);
  CHECK(all[1].count == 2);
  CHECK(all[1].bytes() == 16);
  CHECK(all[1].footprint() == footprint_t{16, 0, 0});
  CHECK(all[2].scalar);
  CHECK(all[2].data == &s.scale);
  CHECK(all[2].resize == nullptr);

  all[1].resize(all[1].owner, 3);
  CHECK(s.positions.size() == 3);
  CHECK(s.positions[1] == 7);
  CHECK(s.positions[2] == 0);
}

TEST_CASE("leaves compare type and bits") {
  buffer<float> a(2, 0.0f), b(2, -0.0f), same(2, 0.0f);
  buffer<std::int32_t> zeros(2);
  CHECK(as_leaf(a) == as_leaf(same));
  CHECK_FALSE(as_leaf(a) == as_leaf(b));
  CHECK_FALSE(as_leaf(a) == as_leaf(zeros));
  float one = 0;
  buffer<float> of_one(1);
  CHECK_FALSE(as_leaf(one) == as_leaf(of_one));  // a scalar is no buffer of one
  buffer<float> empty;
  CHECK(as_leaf(empty) == as_leaf(empty));
}

TEST_CASE("leaves of a const state") {
  const state s{buffer<std::byte>(3), {}};
  std::size_t bytes = 0;
  visit_leaves(s, [&](const field_path&, const leaf& l) { bytes += l.bytes(); });
  CHECK(bytes == 3 + sizeof(float) + sizeof(std::int32_t));
}
