// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/any_state.hpp>
#include <mneme/core/compose/group.hpp>

#include "catch.hpp"
#include "laws/counting_resource.hpp"
#include "sample_memories.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

using erased = any_state<float>;
using leak = leaky<float>::state;
using diary = journal<float>::state;

}  // namespace

TEST_CASE("an erased state is a regular value") {
  static_assert(std::regular<erased>);
  static_assert(std::is_nothrow_move_constructible_v<erased>);
  erased a = erased::of(leak{buffer<float>(3, 1.0f)});
  erased b = a;
  CHECK(a == b);
  b.as<leak>().h[1] = 5;
  CHECK(a.as<leak>().h[1] == 1);
  CHECK_FALSE(a == b);
  b = a;
  CHECK(a == b);
  erased& same = b;
  b = same;
  CHECK(a == b);
  b.as<leak>().h[2] = 7;
  std::swap(a, b);
  CHECK(a.as<leak>().h[2] == 7);
  CHECK(b.as<leak>().h[2] == 1);
}

TEST_CASE("an empty erased state equals only empty ones") {
  erased none, copy = none;
  CHECK(none == copy);
  const erased some = erased::of(leak{});
  CHECK_FALSE(none == some);
  CHECK_FALSE(some == none);
  copy = some;
  CHECK(copy == some);
  copy = none;
  CHECK(copy == none);
  int leaves = 0;
  visit_leaves(none, [&](const field_path&, const leaf&) { ++leaves; });
  CHECK(leaves == 0);
  CHECK(footprint(none) == footprint_t{});
}

TEST_CASE("states of other types differ and can replace each other") {
  erased a = erased::of(leak{}), b = erased::of(diary{});
  CHECK_FALSE(a == b);
  a = b;
  CHECK(a == b);
  CHECK(a.as<diary>().segment == 0);
}

TEST_CASE("assigning a state of the same type reuses its storage") {
  mneme_test::counting_resource where;
  const erased start = erased::of(leak{buffer<float>(50, 0.0f, {&where})});
  erased s = start;
  const float* data = s.as<leak>().h.data();
  const int before = where.allocations;
  s.as<leak>().h[7] = 3;
  s = start;
  CHECK(s == start);
  CHECK(s.as<leak>().h.data() == data);
  CHECK(where.allocations == before);
}

TEST_CASE("a moved-from erased state is empty and can be used again") {
  erased a = erased::of(leak{buffer<float>(2, 4.0f)});
  const erased copy = a;
  erased b = std::move(a);
  CHECK(b == copy);
  CHECK(a == erased());
  a = b;
  CHECK(a == copy);
  b = std::move(a);
  CHECK(b == copy);
  erased& same = b;
  b = std::move(same);
  CHECK(b == copy);
}

TEST_CASE("leaves of an erased state are those of the state") {
  erased s = erased::of(diary{buffer<float>(4, 2.0f), 1});
  CHECK(leaf_paths(s) == std::vector<std::string>{"rows", "segment"});
  CHECK(footprint(s) == footprint(diary{buffer<float>(4), 1}));
  visit_leaves(s, [](const field_path& at, const leaf& l) {
    if (at.text() == "segment") *static_cast<index_t*>(l.data) = 2;
    if (at.text() == "rows") l.resize(l.owner, 6);
  });
  CHECK(s.as<diary>().segment == 2);
  CHECK(s.as<diary>().rows.size() == 6);

  const group<erased, erased> nested{{s, erased::of(group<erased>{{s}})}};
  CHECK(leaf_paths(nested) == std::vector<std::string>{"0.rows", "0.segment", "1.0.rows", "1.0.segment"});
  CHECK(footprint(nested).owned == 2 * footprint(s).owned);
  static_assert(CompleteFields<erased>);
}
