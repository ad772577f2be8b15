// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/random.hpp>

#include "catch.hpp"

#include <set>

using namespace mneme;

TEST_CASE("a stream is a function of its seed and number") {
  random_stream a(1, 2), again(1, 2), other_seed(2, 2), other_stream(1, 3), swapped(2, 1);
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t x = a.bits();
    CHECK(x == again.bits());
    CHECK(x != other_seed.bits());
    CHECK(x != other_stream.bits());
    CHECK(x != swapped.bits());
  }
}

TEST_CASE("weights of a seed never change") {  // a checkpoint of a seeded model would
  random_stream r(0, 0);
  CHECK(r.bits() == 0xe220a8397b1dcdafull);  // splitmix64 of key 0
  CHECK(r.bits() == 0x6e789e6aa1b965f4ull);
  CHECK(random_stream(7, 3).bits() == random_stream(7, 3).bits());
}

TEST_CASE("streams of neighbouring seeds do not overlap") {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (std::uint64_t stream = 0; stream < 20; ++stream) {
      random_stream r(seed, stream);
      for (int i = 0; i < 20; ++i) seen.insert(r.bits());
    }
  CHECK(seen.size() == 8000);
}

TEST_CASE("uniform and normal numbers have their moments") {
  random_stream r(5, 0);
  constexpr int n = 100000;
  double mean = 0, square = 0, low = 1, high = 0;
  for (int i = 0; i < n; ++i) {
    const double u = r.unit();
    mean += u / n, square += u * u / n;
    low = std::min(low, u), high = std::max(high, u);
  }
  CHECK(std::abs(mean - 0.5) < 0.005);
  CHECK(std::abs(square - 1.0 / 3) < 0.005);
  CHECK(low >= 0);
  CHECK(low < 1e-3);
  CHECK(high < 1);
  CHECK(high > 0.999);

  double sum = 0, second = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double x = r.normal();
    REQUIRE(std::isfinite(x));
    sum += x / n, second += x * x / n, fourth += x * x * x * x / n;
  }
  CHECK(std::abs(sum) < 0.02);
  CHECK(std::abs(second - 1) < 0.03);
  CHECK(std::abs(fourth - 3) < 0.2);
  for (int i = 0; i < 1000; ++i) {
    const double x = r.uniform(-3, 5);
    CHECK(x >= -3);
    CHECK(x < 5);
  }
}

TEST_CASE("seeded weights") {
  const weight w = uniform_weight({6, 25}, 25, random_stream(3, 1));
  CHECK(w.rank() == 2);
  CHECK(w.type() == dtype::f32);
  CHECK(w == uniform_weight({6, 25}, 25, random_stream(3, 1)));
  CHECK_FALSE(w == uniform_weight({6, 25}, 25, random_stream(3, 2)));
  float largest = 0;
  for (index_t i = 0; i < w.size(); ++i) largest = std::max(largest, std::abs(data<float>(w)[i]));
  CHECK(largest <= 0.2f);  // 1 / sqrt(25)
  CHECK(largest > 0.19f);

  const weight c = constant_weight({2, 3, 4}, 1.5);
  CHECK(c.rank() == 3);
  CHECK(c.size() == 24);
  for (index_t i = 0; i < 24; ++i) CHECK(data<float>(c)[i] == 1.5f);
  int calls = 0;
  const weight counted = filled_weight({5}, [&] { return ++calls; });
  CHECK(counted.rank() == 1);
  CHECK(data<float>(counted)[4] == 5);
}
