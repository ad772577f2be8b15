// SPDX-License-Identifier: Apache-2.0
// ring and paged hold what contiguous holds, whatever a cache does with its slots.
#include <mneme/io/state_file.hpp>
#include <mneme/store/codec/bf16.hpp>
#include <mneme/store/codec/f16.hpp>
#include <mneme/store/codec/f32.hpp>
#include <mneme/store/codec/q4_0.hpp>
#include <mneme/store/codec/q8_0.hpp>
#include <mneme/store/paged.hpp>
#include <mneme/store/ring.hpp>

#include "catch.hpp"
#include "unit/store/stored.hpp"

using namespace mneme;
using mneme_test::same_rows;
using mneme_test::seen;
using mneme_test::write_token;

namespace {

const kv_shape bounded_shapes[] = {{1, 1, 1}, {3, 8, 5}, {2, 33, 40}};

// A bounded cache of `slots` slots for 3 slots tokens: the newest takes the place of the victim, in every
// list another.
template <class A, class B, class Victim>
void drive(const kv_shape& shape, index_t slots, A& a, B& b, Victim&& victim) {
  for (index_t token = 0; token < 3 * slots; ++token) {
    const index_t slot = std::min(token, slots - 1);
    for (index_t list = 0; list < shape.lists; ++list) {
      write_token(a, shape, list, slot, token);
      write_token(b, shape, list, slot, token);
    }
    REQUIRE(same_rows(a, b, shape, slot + 1));
    if (token < slots - 1) continue;
    for (index_t list = 0; list < shape.lists; ++list) {
      const index_t to = victim(token, list);
      a.move(shape, list, slots - 1, to);
      b.move(shape, list, slots - 1, to);
    }
    REQUIRE(same_rows(a, b, shape, slots - 1));
    REQUIRE(b.holds(shape, slots, token - slots + 2));
  }
}

struct in_order {
  static index_t pinned(index_t capacity) { return capacity / 2; }
};
struct out_of_order {};
static_assert(store::Under<store::ring<store::f32>, in_order>);
static_assert(!store::Under<store::ring<store::f32>, out_of_order>);
static_assert(store::Under<store::paged<store::f32>, out_of_order>);

}  // namespace

TEMPLATE_TEST_CASE("paged slots hold what contiguous slots hold", "", store::f32, store::f16, store::bf16,
                   store::q8_0, store::q4_0) {
  for (const kv_shape& shape : bounded_shapes)
    for (index_t slots : {2, 16, 17, 40}) {
      CAPTURE(shape.lists, shape.d_key, slots);
      auto a = store::contiguous<TestType>::with_slots(shape, slots, {});
      auto b = store::paged<TestType>::with_slots(shape, slots, {});
      drive(shape, slots, a, b, [=](index_t token, index_t list) { return (7 * token + 3 * list) % slots; });
    }
}

TEMPLATE_TEST_CASE("ring slots hold what contiguous slots hold", "", store::f32, store::f16, store::bf16,
                   store::q8_0, store::q4_0) {
  for (kv_shape shape : bounded_shapes)
    for (index_t slots : {2, 3, 9, 17})
      for (index_t pinned : {0, 1, 4}) {
        if (pinned > slots - 2) continue;
        CAPTURE(shape.lists, shape.d_key, slots, pinned);
        shape.pinned = pinned;
        auto a = store::contiguous<TestType>::with_slots(shape, slots, {});
        auto b = store::ring<TestType>::with_slots(shape, slots, {});
        drive(shape, slots, a, b, [=](index_t token, index_t) {
          return pinned + (token - slots + 1) % (slots - 1 - pinned);  // the oldest of the others
        });
      }
}

TEST_CASE("a ring writes an entry once, where its position says") {
  const kv_shape shape{1, 2, 3, 2};
  auto s = store::ring<store::f32>::with_slots(shape, 7, {});
  for (index_t token = 0; token < 40; ++token) {
    write_token(s, shape, 0, std::min<index_t>(token, 6), token);
    for (index_t p = std::max<index_t>(token - 4, 2); p <= token; ++p) {
      const auto* key = reinterpret_cast<const float*>(s.slots.keys.data()) + 2 * (2 + (p - 2) % 5);
      CHECK(std::vector<float>(key, key + 2) == mneme_test::row_of(p, 0, 2, true));
    }
    if (token >= 6) s.move(shape, 0, 6, 2 + (token - 6) % 4);
  }
}

TEST_CASE("a ring refuses what it cannot have become") {
  const kv_shape shape{2, 3, 3};
  auto s = store::ring<store::f32>::with_slots(shape, 5, {});
  CHECK(s.holds(shape, 5, 0));
  CHECK_FALSE(s.holds(shape, 5, 1));
  CHECK_FALSE(s.holds(shape, 4, 0));
  s.left[1] = 1;
  CHECK_FALSE(s.holds(shape, 5, 1));
  s.left.resize(1);
  CHECK_FALSE(s.holds(shape, 5, 0));
}

TEMPLATE_TEST_CASE("a growing paged store holds what a contiguous one holds", "", store::f32, store::q8_0) {
  const kv_shape shape{2, 33, 7};
  auto a = store::contiguous<TestType>::with_slots(shape, 0, {});
  auto b = store::paged<TestType>::with_slots(shape, 0, {});
  store::paged<TestType> from_nothing;
  for (index_t token = 0; token < 100; ++token) {
    a.resize(shape, token + 1);
    b.resize(shape, token + 1);
    from_nothing.resize(shape, token + 1);
    for (index_t list = 0; list < 2; ++list) {
      write_token(a, shape, list, token, token);
      write_token(b, shape, list, token, token);
      write_token(from_nothing, shape, list, token, token);
    }
    CHECK(b.holds(shape, token + 1));
  }
  CHECK(same_rows(a, b, shape, 100));
  CHECK(b == from_nothing);
  const auto fork = b;
  for (index_t n : {99, 65, 64, 3, 0}) {  // back, dead slots are zero again
    b.resize(shape, n);
    CHECK(same_rows(a, b, shape, n));
    auto again = store::paged<TestType>::with_slots(shape, 0, {});
    again.resize(shape, n);
    for (index_t token = 0; token < n; ++token)
      for (index_t list = 0; list < 2; ++list) write_token(again, shape, list, token, token);
    CHECK(b == again);
  }
  CHECK(fork == from_nothing);
  b = fork;
  CHECK_FALSE(b.holds(shape, 97 - 1));
  CHECK_FALSE(b.holds({2, 33, 40}, 100));
}

TEST_CASE("a page holds rows of all lists, and dead slots are zero") {
  const kv_shape shape{2, 3, 5};
  auto s = store::paged<store::f32>::with_slots(shape, 20, {}), fresh = s;
  CHECK(s.pages.size() == 2);
  CHECK(s.pages.page_bytes() == 16 * 2 * (3 + 5) * 4);
  CHECK(s.pages.footprint().owned + s.pages.footprint().shared == 2 * (64 + 16 * 2 * (3 + 5) * 4));
  for (index_t list : {0, 1}) write_token(s, shape, list, 17, 0);
  CHECK_FALSE(s == fresh);
  for (index_t list : {0, 1}) s.move(shape, list, 17, 17);
  CHECK(s == fresh);
}

TEST_CASE("a saved paged store is the loaded one") {
  const kv_shape shape{2, 5, 3};
  using paged = store::paged<store::q8_0>;
  const auto grown = [&](index_t n) {
    auto s = paged::with_slots(shape, 0, {});
    s.resize(shape, n);
    for (index_t slot = 0; slot < n; ++slot) write_token(s, shape, 1, slot, slot);
    return s;
  };
  const paged saved = grown(50);
  const auto file = save_state(saved, {}).value();
  for (index_t n : {0, 3, 50, 70}) {
    paged target = grown(n), sharing = target;
    REQUIRE(load_state(file, target, {}).has_value());
    CHECK(target == saved);
    CHECK(sharing == grown(n));
    CHECK(save_state(target, {}).value() == file);
  }
  const paged smaller = [&] {
    auto s = paged::with_slots({1, 5, 3}, 0, {});
    s.resize({1, 5, 3}, 16);
    return s;
  }();
  paged target = grown(3);
  CHECK_FALSE(load_state(save_state(smaller, {}).value(), target, {}).has_value());  // half a page
  CHECK(target == grown(3));
  paged nothing;
  CHECK_FALSE(load_state(file, nothing, {}).has_value());
}
