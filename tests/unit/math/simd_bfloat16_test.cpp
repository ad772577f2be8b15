// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/simd_bfloat16.hpp>

#include "arch_list.hpp"
#include "catch.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {
// Packs of float to and from elements, alone and in fours.
struct conversions {
  void (*store)(bfloat16*, const float*);
  void (*store_four)(bfloat16*, const float*);
  void (*load)(float*, const bfloat16*);
  void (*load_four)(float*, const bfloat16*);
  index_t width;
};
template <class Arch>
conversions conversions_of() {
  using P = simd::pack<float, Arch>;
  constexpr index_t W = simd::width<P>;
  return {[](bfloat16* to, const float* from) { simd::store(to, simd::load<P>(from)); },
          [](bfloat16* to, const float* from) {
            P x[4];
            simd::load<4>(from, x);
            simd::store<4>(to, x);
          },
          [](float* to, const bfloat16* from) { simd::store(to, simd::load<P>(from)); },
          [](float* to, const bfloat16* from) {
            P x[4];
            simd::load<4>(from, x);
            simd::store<4>(to, x);
          },
          W};
}
std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
}  // namespace

TEST_CASE("packs become bfloat16 as elements do, on every architecture") {
  constexpr std::uint32_t lower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x4000, 0xc000};  // around the tie
  for (const auto& [arch, c] : on_archs<test_archs>([]<class Arch>() { return conversions_of<Arch>(); })) {
    CAPTURE(arch);
    const index_t n = 4 * c.width;
    std::vector<float> x(static_cast<std::size_t>(n + 1)), back = x;
    std::vector<bfloat16> alone(static_cast<std::size_t>(n + 1)), four = alone;
    index_t wrong = 0;
    for (std::uint32_t first = 0; first < 8 * 0x10000u; first += static_cast<std::uint32_t>(n)) {
      for (index_t i = 0; i < n; ++i) {
        const auto k = first + static_cast<std::uint32_t>(i);
        x[static_cast<std::size_t>(i + 1)] = std::bit_cast<float>((k / 8 % 0x10000u) << 16 | lower[k % 8]);
      }
      for (index_t i = 0; i < n; i += c.width) c.store(alone.data() + 1 + i, x.data() + 1 + i);
      c.store_four(four.data() + 1, x.data() + 1);
      for (std::size_t i = 1; i < x.size(); ++i)
        wrong += !(alone[i] == bfloat16(x[i])) + !(four[i] == bfloat16(x[i]));
      for (index_t i = 0; i < n; i += c.width) c.load(back.data() + 1 + i, four.data() + 1 + i);
      for (std::size_t i = 1; i < x.size(); ++i)
        wrong += bits_of(back[i]) != bits_of(static_cast<float>(four[i]));
      c.load_four(back.data() + 1, four.data() + 1);
      for (std::size_t i = 1; i < x.size(); ++i)
        wrong += bits_of(back[i]) != bits_of(static_cast<float>(four[i]));
    }
    CHECK(wrong == 0);
    CHECK((alone[0] == bfloat16(0.0f) && four[0] == bfloat16(0.0f)));
  }
}
