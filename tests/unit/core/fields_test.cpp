// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/fields.hpp>
#include <mneme/core/weight.hpp>

#include "catch.hpp"

#include <map>

using namespace mneme;

namespace {

struct layer {
  buffer<float> key, value;
  index_t size = 0;
  friend bool operator==(const layer&, const layer&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("key", s.key...);
    f("value", s.value...);
    f("size", s.size...);
  }
};
struct network {
  many<layer> layers;
  layer head;
  double scale = 1;
  static constexpr void fields(auto&& f, auto&... s) {
    f("layers", s.layers...);
    f("head", s.head...);
    f("scale", s.scale...);
  }
};
struct forgetful {
  buffer<float> key, value;
  static constexpr void fields(auto&& f, auto&... s) { f("key", s.key...); }
};
struct without_fields {
  int x;
};
struct params {
  weight w, b;
  static constexpr void fields(auto&& f, auto&... s) {
    f("w", s.w...);
    f("b", s.b...);
  }
};
struct paged {
  footprint_t footprint() const { return {1, 20, 300}; }
};
struct cache {
  paged pages;
  int size;
  static constexpr void fields(auto&& f, auto&... s) {
    f("pages", s.pages...);
    f("size", s.size...);
  }
};

network small() {
  network n;
  n.layers.items.resize(2);
  n.layers.items[1] = {buffer<float>(2, 1.0f), buffer<float>(3, 2.0f), 5};
  n.head.key.resize(4);
  return n;
}
std::vector<std::string> paths_of(auto& s) {
  std::vector<std::string> all;
  visit_fields([&](const field_path& at, auto&) { all.push_back(at.text()); }, s);
  return all;
}

}  // namespace

TEST_CASE("leaves are visited depth first under dotted paths") {
  network n = small();
  const std::vector<std::string> expected{"layers.0.key",   "layers.0.value", "layers.0.size", "layers.1.key",
                                          "layers.1.value", "layers.1.size",  "head.key",      "head.value",
                                          "head.size",      "scale"};
  CHECK(paths_of(n) == expected);
  const network& read = n;
  CHECK(paths_of(read) == expected);
  nothing none;
  CHECK(paths_of(none).empty());
}

TEST_CASE("two and three aggregates are visited in lock step") {
  network a = small(), b = small();
  const network c = small();
  b.scale = 7;
  int different = 0, leaves = 0;
  visit_fields(
      [&](const field_path&, auto& x, auto& y) {
        ++leaves;
        different += !(x == y);
      },
      a, b);
  CHECK(leaves == 10);
  CHECK(different == 1);
  visit_fields(
      [&](const field_path&, auto& x, const auto& y, const auto& z) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(x)>, double>) x = y + z;
      },
      a, std::as_const(b), c);
  CHECK(a.scale == 8);
}

TEST_CASE("a visitor writes through") {
  network n = small();
  visit_fields(
      [](const field_path&, auto& leaf) {
        if constexpr (requires { leaf.view(); })
          for (float& x : leaf.view()) x = 3;
      },
      n);
  CHECK(n.layers.items[1].value == buffer<float>(3, 3.0f));
  CHECK(n.head.key[3] == 3);
}

TEST_CASE("a forgotten member is noticed") {
  static_assert(CompleteFields<layer>);
  static_assert(CompleteFields<network>);
  static_assert(CompleteFields<nothing>);
  static_assert(CompleteFields<many<layer>>);
  static_assert(HasFields<forgetful>);
  static_assert(!CompleteFields<forgetful>);
  static_assert(!HasFields<without_fields>);
  static_assert(!CompleteFields<without_fields>);
  static_assert(field_count<layer>() == 3);
  static_assert(field_count<nothing>() == 0);
  SUCCEED();
}

TEST_CASE("a list of aggregates is numbered in decimal") {
  many<layer> list;
  list.items.resize(12);
  const auto all = paths_of(list);
  CHECK(all.size() == 36);
  CHECK(all[27] == "9.key");
  CHECK(all[35] == "11.size");
  CHECK(list == list);
  many<layer> shorter = list;
  shorter.items.pop_back();
  CHECK_FALSE(list == shorter);
}

TEST_CASE("a footprint counts what is owned, shared and reserved") {
  layer l{buffer<float>(10), buffer<float>(6), 3};
  CHECK(footprint(l) == footprint_t{16 * sizeof(float) + sizeof(index_t), 0, 0});
  l.key.reserve(15);
  l.value.resize(2);
  CHECK(footprint(l) == footprint_t{12 * sizeof(float) + sizeof(index_t), 0, 9 * sizeof(float)});
  CHECK(footprint(nothing()) == footprint_t{});

  CHECK(footprint(params{weight::zeros<float>(3, 4), {}}) == footprint_t{0, 48, 0});
}

TEST_CASE("a leaf with bytes of its own says what it holds") {
  CHECK(footprint(cache{}) == footprint_t{1 + sizeof(int), 20, 300});
}

TEST_CASE("paths are made of parents and names") {
  const field_path root, a(root, "a"), unnamed(a, ""), b(unnamed, "b");
  CHECK(root.text().empty());
  CHECK(a.text() == "a");
  CHECK(unnamed.text() == "a");
  CHECK(b.text() == "a.b");
}
