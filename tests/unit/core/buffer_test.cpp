// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/buffer.hpp>

#include "catch.hpp"
#include "laws/counting_resource.hpp"

#include <cstdint>
#include <limits>
#include <type_traits>

using namespace mneme;

TEST_CASE("buffers compare their bits") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const buffer<float> a(3, nan), b(3, nan);
  CHECK(a == a);
  CHECK(a == b);
  CHECK_FALSE(buffer<float>(1, 0.0f) == buffer<float>(1, -0.0f));
  CHECK_FALSE(buffer<float>(1, nan) == buffer<float>(1, -nan));
  CHECK_FALSE(buffer<float>(2) == buffer<float>(3));
  CHECK(buffer<float>() == buffer<float>(0));
  buffer<float> grown(2, 1.0f);
  grown.reserve(100);  // the room does not count
  CHECK(grown == buffer<float>(2, 1.0f));
}

TEST_CASE("a new buffer is filled and aligned") {
  const buffer<double> b(5, 2.5);
  CHECK(b.size() == 5);
  for (double x : b) CHECK(x == 2.5);
  CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
  CHECK(b.bytes() == 40);
  CHECK(b.view().data() == b.data());
  CHECK(buffer<double>(2)[1] == 0);
}

TEST_CASE("copy assignment reuses storage") {
  mneme_test::counting_resource where;
  {
    buffer<int> big(100, 1, where.here()), small(3, 2, where.here());
    const int* kept = big.data();
    const int before = where.allocations;
    big = small;
    CHECK(big == small);
    CHECK(big.data() == kept);
    CHECK(big.capacity() == 100);
    buffer<int>& same = big;
    big = same;
    CHECK(big == small);
    CHECK(where.allocations == before);
    small = buffer<int>(4, 7);  // a move takes the other's storage
    CHECK(where.allocations == before);
    CHECK(small[3] == 7);
  }
  CHECK(where.allocations == where.releases);
  CHECK(where.live == 0);
}

TEST_CASE("copy assignment that does not fit allocates once, where the target lives") {
  mneme_test::counting_resource where;
  buffer<int> target(2, 1, where.here());
  const buffer<int> source(50, 3);
  target = source;
  CHECK(target == source);
  CHECK(where.allocations == 2);
  CHECK(where.live == 50 * sizeof(int));
  buffer<int> empty(0, 0, where.here());
  empty = source;
  CHECK(where.allocations == 3);
}

TEST_CASE("a copy lives where its source lives") {
  mneme_test::counting_resource where;
  const buffer<int> source(10, 4, where.here());
  const buffer<int> copy = source;
  CHECK(where.allocations == 2);
  CHECK(copy == source);
  CHECK(copy.data() != source.data());
  mneme_test::counting_resource elsewhere;
  buffer<int> empty(0, 0, elsewhere.here());
  CHECK(elsewhere.allocations == 0);
  buffer<int> copied_empty = empty;
  copied_empty.resize(3);
  CHECK(elsewhere.allocations == 1);
}

TEST_CASE("resize fills with zeros and grows geometrically") {
  buffer<int> b(3, 9);
  b.resize(5);
  CHECK(b[2] == 9);
  CHECK(b[3] == 0);
  CHECK(b[4] == 0);
  b[4] = 8;
  b.resize(2);
  CHECK(b.size() == 2);
  b.resize(5);
  CHECK(b[1] == 9);
  CHECK(b[2] == 0);  // what was cut off does not come back
  CHECK(b[4] == 0);

  mneme_test::counting_resource where;
  buffer<int> appended(0, 0, where.here());
  for (index_t n = 1; n <= 1000; ++n) {
    appended.resize(n);
    appended[n - 1] = static_cast<int>(n);
  }
  CHECK(where.allocations <= 11);
  for (index_t n = 0; n < 1000; ++n) REQUIRE(appended[n] == n + 1);
}

TEST_CASE("reserve keeps the content and makes room once") {
  mneme_test::counting_resource where;
  buffer<int> b(2, 5, where.here());
  b.reserve(64);
  CHECK(b.size() == 2);
  CHECK(b[1] == 5);
  CHECK(b.reserved_bytes() == 64 * sizeof(int));
  const int before = where.allocations;
  b.reserve(10);
  b.resize(64);
  CHECK(where.allocations == before);
}

TEST_CASE("a moved-from buffer is empty and can be used again") {
  static_assert(std::is_nothrow_move_constructible_v<buffer<int>>);
  static_assert(std::is_nothrow_move_assignable_v<buffer<int>>);
  buffer<int> a(4, 3);
  const int* data = a.data();
  buffer<int> b = std::move(a);
  CHECK(b.data() == data);
  CHECK(a.size() == 0);
  CHECK(a == buffer<int>());
  a.resize(2);
  CHECK(a[1] == 0);
  a = b;
  CHECK(a == b);
  buffer<int>& same = b;
  b = std::move(same);
  CHECK(a == b);
  b = std::move(a);
  CHECK(b.size() == 4);
}

TEST_CASE("buffers of one stream release what they took") {
  mneme_test::counting_resource where;
  {
    buffer<float> a(10, 1, where.here()), b = a, c;
    c = a;  // an empty buffer allocates where it was made: on the heap
    b.resize(1000);
    a = std::move(b);
    c = std::move(a);
  }
  CHECK(where.allocations == where.releases);
  CHECK(where.live == 0);
}
