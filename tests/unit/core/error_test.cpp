// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/error.hpp>
#include <mneme/layer/linear.hpp>

#include "catch.hpp"
#include "error_text.hpp"

#include <memory>
#include <vector>

using namespace mneme;
using mneme_test::error_text;

TEST_CASE("a message joins texts and numbers") {
  const error e = message("capacity is ", index_t{-3}, std::string(", expected "), 1u, " of ", 'x' - 'x');
  CHECK(e.message() == "capacity is -3, expected 1 of 0");
  CHECK(e.what() == e.message());
}

TEST_CASE("an expected value") {
  expected<std::vector<int>> e = std::vector<int>{1, 2};
  REQUIRE(e);
  CHECK(e.has_value());
  CHECK(e.value().size() == 2);
  CHECK(e->size() == 2);
  (*e).push_back(3);
  const auto& read = e;
  CHECK(read.value().back() == 3);
  CHECK((*read).front() == 1);
  const std::vector<int> taken = std::move(e).value();
  CHECK(taken.size() == 3);

  expected<std::unique_ptr<int>> moved = std::make_unique<int>(7);  // values that cannot be copied
  const auto owner = std::move(moved).value();
  CHECK(*owner == 7);
}

TEST_CASE("an expected error is what value fails with") {
  expected<int> e = error("no such file");
  CHECK_FALSE(e);
  CHECK(e.error().message() == "no such file");
  CHECK(error_text([&] { e.value(); }) == "no such file");
  CHECK(error_text([&] { *e = 3; }) == "no such file");
  CHECK(error_text([&] { std::move(e).value(); }) == "no such file");
}

TEST_CASE("a status is empty or an error") {
  const status good;
  CHECK(good);
  CHECK(good.ok());
  CHECK(error_text([&] { good.or_fail(); }) == "no error");
  const status bad = message("size is ", 0);
  CHECK_FALSE(bad);
  CHECK(bad.error().message() == "size is 0");
  CHECK(error_text([&] { bad.or_fail(); }) == "size is 0");
}

TEST_CASE("make gives the memory, or the error that its constructor throws") {
  auto good = make<linear<float>>({.d_in = 3, .d_out = 2}, 7u);
  REQUIRE(good);
  CHECK(good->d_in() == 3);
  CHECK(good->weights().weight == linear<float>({.d_in = 3, .d_out = 2}, 7).weights().weight);

  const linear_config wrong{.d_in = 3, .d_out = 0};
  const auto bad = make<linear<float>>(wrong);
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message() == "linear: d_in is 3 and d_out is 0, expected at least 1");
  CHECK(error_text([&] { linear<float> l(wrong); }) == bad.error().message());
}
