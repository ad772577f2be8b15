// SPDX-License-Identifier: Apache-2.0
#include <mneme/layer/short_conv.hpp>
#include <mneme/math/encode.hpp>

#include "catch.hpp"
#include "laws/compare.hpp"

using namespace mneme;
using mneme_test::matrix;

static_assert(Scannable<short_conv<float>> && Sampled<short_conv<double>> && row_stable<short_conv<float>>);
static_assert(Scannable<short_conv<float, reference>>);

TEST_CASE("short_conv: tap and time order of checkpoints") {
  // Channel 0 returns the input of two tokens ago, channel 1 ten times the current one plus its bias.
  const float taps[] = {1, 0, 0, 0, 0, 10}, bias[] = {0, 0.5f};
  const short_conv<float> m(
      {.channels = 2, .width = 3, .silu = false},
      {weight::copy_of(taps, {2, 1, 3}, 3, dtype::f32), weight::copy_of(bias, {2, 1, 1}, 1, dtype::f32)});
  const std::vector<float> x{1, 1, 2, 2, 3, 3, 4, 4};
  std::vector<float> y(8);
  auto s = m.init();
  context ctx;
  scan(m, ctx, s, {x.data(), 4, 2}, {y.data(), 4, 2});
  CHECK(y == std::vector<float>{0, 10.5, 0, 20.5, 1, 30.5, 2, 40.5});
  CHECK(std::vector<float>(s.conv.begin(), s.conv.end()) == std::vector<float>{3, 3, 4, 4});
}

TEST_CASE("short_conv: every storage type of weights, against the reference in double") {
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::f16}) {
    CAPTURE(info(type).name);
    const short_conv_config c{.channels = 37, .width = 5};
    const short_conv<float> seeded(c, 3);
    const short_conv_params p{stored_as(seeded.weights().weight, type),
                              stored_as(seeded.weights().bias, type)};
    const short_conv<float> m(c, p);
    const short_conv<double, reference> oracle(c, p);
    const auto X = mneme_test::random_rows<float>(9, 37, 0, 4);
    const auto wide = mneme_test::widened<float>(X.view());
    matrix<float> Y(9, 37);
    matrix<double> expected(9, 37);
    auto s = m.init();
    auto so = oracle.init();
    context ctx;
    scan(m, ctx, s, X, Y.view());
    scan(oracle, ctx, so, wide, expected.view());
    const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<float>, .rows = 0, .width = 5};
    CHECK(mneme_test::difference<float, double>(Y, expected, allowed) == "");
  }
}

TEST_CASE("short_conv refuses impossible sizes and misshapen tensors") {
  CHECK(!make<short_conv<float>>({.channels = 0}));
  CHECK(!make<short_conv<float>>({.channels = 3, .width = 0}));
  CHECK_THROWS_AS(short_conv<float>({.channels = 3}, {weight::zeros<float>(3, 4), weight::zeros<float>(3)}),
                  error);
  CHECK_THROWS_AS(short_conv<float>({.channels = 3}, {weight::zeros<float>(3, 1, 4), {}}), error);
}

TEST_CASE("short_conv: seeds give the uniform initialisation of its fan-in") {
  const short_conv<float> m({.channels = 50}, 7), again({.channels = 50}, 7), other({.channels = 50}, 8);
  CHECK(m.weights().weight == again.weights().weight);
  CHECK(!(m.weights().weight == other.weights().weight));
  for (index_t i = 0; i < 200; ++i) CHECK(std::abs(data<float>(m.weights().weight)[i]) <= 0.5f);
}
