// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/leaf.hpp>

#include "catch.hpp"

#include <cmath>
#include <limits>

using namespace mneme;

namespace {
std::uint16_t bits_of(float x) { return bfloat16(x).bits; }
float value_of(std::uint32_t upper) {
  bfloat16 x;
  x.bits = static_cast<std::uint16_t>(upper);
  return static_cast<float>(x);
}
}  // namespace

static_assert(sizeof(bfloat16) == 2 && std::is_trivially_copyable_v<bfloat16>);
static_assert(element_of<bfloat16>() == element::bf16);
static_assert(StoresElementsOf<bfloat16, float> && StoresElementsOf<double, double> &&
              !StoresElementsOf<float, double>);

TEST_CASE("bfloat16 keeps what it can hold") {
  for (const float x : {0.0f, -0.0f, 1.0f, -2.5f, 0x1p-126f, 0x1.fep127f, HUGE_VALF, -HUGE_VALF})
    CHECK(std::bit_cast<std::uint32_t>(static_cast<float>(bfloat16(x))) == std::bit_cast<std::uint32_t>(x));
}

TEST_CASE("bfloat16 rounds to the nearest, ties to even") {
  CHECK(static_cast<float>(bfloat16(1 + 0x1p-8f)) == 1.0f);             // between 1 and 1 + 2^-7
  CHECK(static_cast<float>(bfloat16(1 + 3 * 0x1p-8f)) == 1 + 0x1p-6f);  // between odd and even
  CHECK(static_cast<float>(bfloat16(1 + 0x1.0002p-8f)) == 1 + 0x1p-7f);
  CHECK(static_cast<float>(bfloat16(-1 - 0x1.fffcp-9f)) == -1.0f);
  CHECK(std::isinf(static_cast<float>(bfloat16(std::numeric_limits<float>::max()))));
  CHECK(static_cast<double>(bfloat16(0.1)) == static_cast<double>(static_cast<float>(bfloat16(0.1f))));
}

TEST_CASE("bfloat16: NaN stays NaN, what is below the least normal number is a zero of its sign") {
  for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0xff800001u})
    CHECK(std::isnan(static_cast<float>(bfloat16(std::bit_cast<float>(nan)))));
  CHECK(bits_of(0x1p-127f) == 0);
  CHECK(bits_of(-0x1p-149f) == 0x8000);
  CHECK(bits_of(std::nextafter(0x1p-126f, 0.0f)) == 0);
  CHECK(value_of(0x0080) == 0x1p-126f);
}

TEST_CASE("buffers of bfloat16 are compared and visited as their bits") {
  buffer<bfloat16> a(3), b = a;
  CHECK((a == b && a.bytes() == 6 && a[0] == bfloat16(0.0f)));
  b[1] = bfloat16(-0.0f);
  CHECK(!(a == b));
  const leaf l = as_leaf(b);
  CHECK((l.type == element::bf16 && l.count == 3 && l.bytes() == 6));
}
