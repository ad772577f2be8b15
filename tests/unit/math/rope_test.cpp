// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/rope.hpp>

#include "catch.hpp"
#include "golden.hpp"

using namespace mneme;
using mneme_test::golden;

namespace {

template <class T>
std::vector<T> turned(const rope& r, index_t position, std::vector<T> x) {
  std::vector<T> table(static_cast<std::size_t>(2 * r.pairs()));
  r.angles<T>(position, table);
  r.rotate<T>(row_view<const T>(table), x.data());
  return x;
}
double worst(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) error = std::max(error, std::abs(a[i] - b[i]));
  return error;
}

}  // namespace

TEST_CASE("rotations give the golden values in both layouts") {
  const golden file("attention");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    const std::string pairs = file.flag(name, "rope");
    if (pairs == "none") continue;
    ++cases;
    CAPTURE(name);
    const index_t width = std::stoi(file.flag(name, "rotary_width"));
    const double base = file.value(name, "base");
    const rope r(width, base, pairs == "half" ? rope_pairs::half_split : rope_pairs::interleaved);
    REQUIRE(r.pairs() == width / 2);

    const auto positions = file.values(name, "positions"), theta = file.values(name, "theta");
    std::vector<double> table(static_cast<std::size_t>(width));
    for (double p : positions) {
      r.angles<double>(static_cast<index_t>(p), table);
      for (std::size_t i = 0; i < theta.size(); ++i) {
        CHECK(std::abs(table[2 * i] - std::cos(p * theta[i])) < 1e-11);
        CHECK(std::abs(table[2 * i + 1] - std::sin(p * theta[i])) < 1e-11);
      }
    }
    for (const char* side : {"q", "k"}) {
      const auto x = file.values(name, side);
      const auto shape = file.shape(name, side);
      const index_t d = shape[2], row = shape[1] * d;
      std::vector<double> y;
      std::vector<float> y32;
      for (std::size_t t = 0; t < positions.size(); ++t)
        for (index_t h = 0; h < shape[1]; ++h) {
          const auto* from = x.data() + static_cast<index_t>(t) * row + h * d;
          const auto p = static_cast<index_t>(positions[t]);
          for (double v : turned(r, p, std::vector<double>(from, from + d))) y.push_back(v);
          for (float v : turned(r, p, std::vector<float>(from, from + d))) y32.push_back(v);
        }
      const auto expected = file.values(name, std::string(side) + "_rot");
      CHECK(worst(y, expected) < 1e-11);
      CHECK(worst(std::vector<double>(y32.begin(), y32.end()), expected) < 1e-6);  // at position 5000 too
    }
  }
  CHECK(cases == 6);
}

TEST_CASE("position 0 turns nothing and lengths are kept") {
  const rope r(6, 10000, rope_pairs::half_split);
  const std::vector<double> x{1, -2, 3, 4, -5, 6};
  CHECK(turned(r, 0, x) == x);
  double before = 0, after = 0;
  for (double v : x) before += v * v;
  for (double v : turned(r, 1234567, x)) after += v * v;
  CHECK(std::abs(after / before - 1) < 1e-14);
}

TEST_CASE("the product of two turned rows depends on the distance of their positions alone") {
  for (rope_pairs pairs : {rope_pairs::interleaved, rope_pairs::half_split}) {
    const rope r(8, 500, pairs);
    const std::vector<double> q{1, 2, -3, 4, 0.5, -6, 7, 8}, k{-2, 1, 0.3, 5, 1, 2, -1, 4};
    const auto product = [&](index_t a, index_t b) {
      const auto x = turned(r, a, q), y = turned(r, b, k);
      double s = 0;
      for (std::size_t i = 0; i < x.size(); ++i) s += x[i] * y[i];
      return s;
    };
    CHECK(std::abs(product(7, 3) - product(1007, 1003)) < 1e-10);
    CHECK(std::abs(product(7, 3) - product(4, 0)) < 1e-10);
    CHECK(std::abs(product(7, 3) - product(3, 7)) > 0.1);
  }
}

TEST_CASE("the two layouts are one rotation of permuted channels") {
  const std::vector<double> halves{1, 2, 3, 4, 5, 6}, pairs{1, 4, 2, 5, 3, 6};
  const auto a = turned(rope(6, 100, rope_pairs::half_split), 9, halves);
  const auto b = turned(rope(6, 100, rope_pairs::interleaved), 9, pairs);
  const std::size_t place[] = {0, 2, 4, 1, 3, 5};
  for (std::size_t i = 0; i < 6; ++i) CHECK(a[i] == b[place[i]]);
}

TEST_CASE("a partial rotation leaves the other channels alone") {
  const std::vector<double> x{1, 2, 3, 4, 5, 6, 7};
  for (rope_pairs pairs : {rope_pairs::interleaved, rope_pairs::half_split}) {
    const auto y = turned(rope(4, 100, pairs), 3, x);
    for (std::size_t i = 0; i < 4; ++i) CHECK(y[i] != x[i]);
    for (std::size_t i = 4; i < 7; ++i) CHECK(y[i] == x[i]);
  }
  CHECK(rope().pairs() == 0);
  CHECK(turned(rope(), 5, x) == x);
}

TEST_CASE("the first pair turns by one radian per position") {
  const auto y = turned(rope(2, 10000, rope_pairs::interleaved), 1, std::vector<double>{1, 0});
  CHECK(std::abs(y[0] - std::cos(1.0)) < 1e-15);
  CHECK(std::abs(y[1] - std::sin(1.0)) < 1e-15);
  const auto far = turned(rope(2, 10000, rope_pairs::interleaved), 1 << 20, std::vector<float>{1, 0});
  CHECK(std::abs(far[0] - std::cos(double{1 << 20})) < 1e-7);
}
