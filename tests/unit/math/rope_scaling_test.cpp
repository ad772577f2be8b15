// SPDX-License-Identifier: Apache-2.0
// Stretched frequencies against the rules of transformers; the mean of rotations.
#include <mneme/math/rope.hpp>

#include "catch.hpp"
#include "golden.hpp"

using namespace mneme;

namespace {

rope_scaling scaling_of(const mneme_test::golden& file, const std::string& name) {
  const std::string rule = file.flag(name, "rule");
  const bool yarn = rule == "yarn";
  const double many = file.value(name, "many");
  return {rule == "default" ? rope_stretch::none
          : yarn            ? rope_stretch::yarn
                            : rope_stretch::llama3,
          file.value(name, "factor"),
          file.value(name, "trained"),
          file.value(name, "few"),
          many == (yarn ? 32 : 4) ? 0 : many,
          file.value(name, "amplitude")};  // 0: the default, which is meant
}
// Frequency and amplitude of every pair, read off the table of position 1.
void compare(const rope& r, const std::vector<double>& frequencies, double scale, double tolerance) {
  REQUIRE(r.pairs() == static_cast<index_t>(frequencies.size()));
  std::vector<double> table(2 * frequencies.size());
  r.angles<double>(1, table);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    CHECK(std::abs(std::atan2(table[2 * i + 1], table[2 * i]) / frequencies[i] - 1) < tolerance);
    CHECK(std::abs(std::hypot(table[2 * i], table[2 * i + 1]) / scale - 1) < 1e-14);
  }
}

}  // namespace

TEST_CASE("stretched frequencies are those of the reference") {
  const mneme_test::golden file("rope_scaling");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto frequencies = file.values(name, "frequencies");
    const rope r(2 * static_cast<index_t>(frequencies.size()), file.value(name, "base"),
                 rope_pairs::half_split, scaling_of(file, name));
    compare(r, frequencies, file.value(name, "scale"), 2e-6);  // float32 in the reference
    ++cases;
  }
  CHECK(cases == 7);
}

TEST_CASE("published frequencies of yarn") {
  const rope r(128, 1e4, rope_pairs::half_split, {.how = rope_stretch::yarn, .factor = 4, .trained = 4096});
  std::vector<double> table(128);
  r.angles<double>(1, table);
  const std::pair<std::size_t, double> published[] = {
      {20, 0.0562341325}, {32, 0.00653846154}, {63, 2.88695496e-5}};
  for (const auto& [pair, frequency] : published)
    CHECK(std::abs(std::atan2(table[2 * pair + 1], table[2 * pair]) / frequency - 1) < 1e-8);
  CHECK(std::abs(std::hypot(table[0], table[1]) - 1.1386294) < 1e-7);
}

TEST_CASE("a mean of rotations") {
  for (const rope_scaling& scaling :
       {rope_scaling{}, rope_scaling{.how = rope_stretch::yarn, .factor = 4, .trained = 64}}) {
    const rope r(6, 1e6, rope_pairs::interleaved, scaling);
    for (index_t count : {1, 2, 17, 512}) {
      std::vector<double> mean(6), one(6), sum(6);
      r.mean_angles<double>(100, count, mean);
      for (index_t p = 100; p < 100 + count; ++p) {
        r.angles<double>(p, one);
        for (std::size_t i = 0; i < 6; ++i) sum[i] += one[i] / static_cast<double>(count);
      }
      for (std::size_t i = 0; i < 6; ++i) CHECK(std::abs(mean[i] - sum[i]) < 1e-12);
    }
  }
}

TEST_CASE("turning with and without a table is the same") {
  const rope r(6, 1e4, rope_pairs::half_split, {.how = rope_stretch::llama3, .factor = 8});
  std::vector<float> a{1, -2, 3, 4, -5, 6, 7}, b = a, table(6);
  r.angles<float>(12345, table);
  r.rotate<float>(row_view<const float>(table), a.data());
  r.turn(12345, b.data());
  CHECK(a == b);
}
