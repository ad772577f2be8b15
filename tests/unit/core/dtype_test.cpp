// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/dtype.hpp>

#include "catch.hpp"

#include <cmath>
#include <limits>
#include <string>

using namespace mneme;

TEST_CASE("names and sizes of storage types") {
  struct row {
    dtype type;
    const char* name;
    index_t bytes_of_64;
  };
  for (const auto& [type, name, bytes] :
       {row{dtype::f32, "F32", 256}, row{dtype::f64, "F64", 512}, row{dtype::bf16, "BF16", 128},
        row{dtype::f16, "F16", 128}, row{dtype::q8_0, "Q8_0", 68}, row{dtype::q4_0, "Q4_0", 36},
        row{dtype::q4_1, "Q4_1", 40}}) {
    CAPTURE(name);
    CHECK(info(type).name == std::string(name));
    CHECK(row_bytes(type, 64) == bytes);
    CHECK(row_bytes(type, 0) == 0);
    CHECK(64 % info(type).block == 0);
  }
  static_assert(row_bytes(dtype::bf16, 3) == 6);
  static_assert(dtype_of<float> == dtype::f32);
  static_assert(dtype_of<double> == dtype::f64);
}

TEST_CASE("every finite binary16 and bfloat16 survives the way to float32 and back") {
  int failures = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    if (std::isnan(from_f16(h)))
      failures += !std::isnan(from_f16(to_f16(from_f16(h))));
    else
      failures += to_f16(from_f16(h)) != h;
    if (std::isnan(from_bf16(h)))
      failures += !std::isnan(from_bf16(to_bf16(from_bf16(h))));
    else
      failures += to_bf16(from_bf16(h)) != h;
  }
  CHECK(failures == 0);
}

TEST_CASE("between two binary16 numbers the nearer one is taken and ties go to even") {
  int failures = 0;
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {  // all positive pairs of neighbours
    const auto low = static_cast<std::uint16_t>(bits), high = static_cast<std::uint16_t>(bits + 1);
    const float middle = (from_f16(low) + from_f16(high)) / 2;  // exact in float32
    const std::uint16_t even = low % 2 == 0 ? low : high;
    failures += to_f16(middle) != even;
    failures += to_f16(std::nextafter(middle, 0.0f)) != low;
    failures += to_f16(std::nextafter(middle, 1e9f)) != high;
    failures += to_f16(-middle) != (even | 0x8000);
  }
  CHECK(failures == 0);
}

TEST_CASE("between two bfloat16 numbers the nearer one is taken and ties go to even") {
  const std::uint16_t some[] = {0x3f80, 0x3f81, 0x0001, 0x7f7e, 0x0080};
  for (const std::uint16_t low : some) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const float middle = std::bit_cast<float>((std::uint32_t{low} << 16) + 0x8000u);
    CHECK(to_bf16(middle) == (low % 2 == 0 ? low : high));
    CHECK(to_bf16(std::nextafter(middle, 0.0f)) == low);
    CHECK(to_bf16(std::nextafter(middle, std::numeric_limits<float>::infinity())) == high);
  }
}

TEST_CASE("the ends of the 16-bit types") {
  CHECK(from_f16(0x7bff) == 65504);
  CHECK(to_f16(65504) == 0x7bff);
  CHECK(to_f16(65519.996f) == 0x7bff);
  CHECK(to_f16(65520) == 0x7c00);  // rounds to 65536, which is no binary16 number
  CHECK(to_f16(-1e30f) == 0xfc00);
  CHECK(from_f16(0x7c00) == std::numeric_limits<float>::infinity());
  CHECK(from_f16(1) == std::ldexp(1.0f, -24));
  CHECK(to_f16(0x1p-26f) == 0);
  CHECK(to_f16(-0.0f) == 0x8000);
  CHECK(to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(std::isnan(from_bf16(to_bf16(std::bit_cast<float>(0x7f800001u)))));  // a NaN of low bits only
}
