// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/decode.hpp>
#include <mneme/math/encode.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "golden.hpp"
#include "laws/matrix.hpp"

#include <map>

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::same_bits;
using mneme_test::test_archs;

namespace {

const std::map<std::string, dtype> golden_formats{{"q8_0", dtype::q8_0},
                                                  {"q4_0", dtype::q4_0},
                                                  {"q4_1", dtype::q4_1},
                                                  {"f16", dtype::f16},
                                                  {"bf16", dtype::bf16}};

// f(case, type, rows, columns) for the cases of the golden file in formats that the library has.
template <class F>
void for_golden(const golden& file, F&& f) {
  int cases = 0;
  for (const std::string& name : file.cases()) {
    const auto found = golden_formats.find(file.flag(name, "format"));
    if (found == golden_formats.end()) continue;  // q5_0, q5_1
    CAPTURE(name);
    const auto shape = file.shape(name, "rows");
    f(name, found->second, shape[0], shape[1]);
    ++cases;
  }
  CHECK(cases == 10);
}
template <class T>
std::vector<T> narrowed(const std::vector<double>& x) {
  std::vector<T> y;
  for (const double v : x) y.push_back(static_cast<T>(v));
  return y;
}

// One row decoded to a misaligned place; what lies around it stays.
template <class Arch, class T>
std::vector<T> decoded(dtype type, const std::byte* row, index_t n) {
  matrix<T> out(1, n, placement{.shift = 1});
  decode_row<Arch>(type, row, n, out.view().data());
  CHECK(out.surrounding_untouched());
  return {out.view()[0].begin(), out.view()[0].end()};
}

// The generator of the golden values of KV caches: uniform in [-1, 1) on a grid of 2^-23.
std::vector<float> cache_values(std::uint32_t seed, int n) {
  std::vector<float> x;
  for (int i = 0; i < n; ++i) {
    seed = 1664525u * seed + 1013904223u;
    x.push_back(static_cast<float>(seed >> 8) / 16777216.0f * 2 - 1);
  }
  return x;
}

}  // namespace

TEST_CASE("rows are encoded to the golden blocks bit for bit") {
  const golden file("quant");
  for_golden(file, [&](const std::string& name, dtype type, index_t rows, index_t columns) {
    const auto values = file.values(name, "rows"), blocks = file.values(name, "blocks");
    const auto x = narrowed<float>(values);
    std::vector<std::byte> bytes(static_cast<std::size_t>(rows * row_bytes(type, columns))), twice = bytes;
    for (index_t r = 0; r < rows; ++r) {
      encode_row(type, x.data() + r * columns, columns, bytes.data() + r * row_bytes(type, columns));
      encode_row(type, values.data() + r * columns, columns, twice.data() + r * row_bytes(type, columns));
    }
    REQUIRE(bytes.size() == blocks.size());
    for (std::size_t i = 0; i < bytes.size(); ++i)
      REQUIRE(std::to_integer<int>(bytes[i]) == static_cast<int>(blocks[i]));
    CHECK(twice == bytes);  // from double
  });
}

TEMPLATE_LIST_TEST_CASE("golden blocks are decoded bit for bit", "", test_archs) {
  const golden file("quant");
  for_golden(file, [&](const std::string& name, dtype type, index_t rows, index_t columns) {
    const auto expected = narrowed<float>(file.values(name, "dequant"));
    std::vector<std::byte> bytes(1);  // odd addresses: files align nothing
    for (const double b : file.values(name, "blocks"))
      bytes.push_back(static_cast<std::byte>(static_cast<int>(b)));
    for (index_t r = 0; r < rows; ++r) {
      const auto* row = bytes.data() + 1 + r * row_bytes(type, columns);
      const auto single = decoded<TestType, float>(type, row, columns);
      const auto wide = decoded<TestType, double>(type, row, columns);
      for (index_t i = 0; i < columns; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const float want = expected[static_cast<std::size_t>(r * columns + i)];
        // q4_0 is decoded as d q - 8 d, whose zero is +0 where d (q - 8) has the sign of d.
        const bool zero = type == dtype::q4_0 && want == 0;
        CHECK((zero ? single[at] == 0 : same_bits(&single[at], &want, 1)));
        CHECK(wide[at] == static_cast<double>(want));
      }
    }
  });
}

TEST_CASE("a block of zeros in q4_0 has the scale -0 and decodes to zeros") {
  const std::vector<float> zeros(32);
  std::byte block[18];
  encode_row(dtype::q4_0, zeros.data(), 32, block);
  CHECK(block[0] == std::byte{0x00});
  CHECK(block[1] == std::byte{0x80});
  CHECK(decoded<simd::native, float>(dtype::q4_0, block, 32) == zeros);
}

TEST_CASE("quantised blocks of the KV cache specification") {
  const auto K = cache_values(1, 32);
  CHECK(std::abs(K[0] + 0.527089f) < 1e-6f);
  CHECK(std::abs(K[2] - 0.008484f) < 1e-6f);

  std::byte block[34];
  encode_row(dtype::q8_0, K.data(), 32, block);
  CHECK(load_unaligned_word<std::uint16_t>(block) == 0x1fcc);
  const int first[] = {-69, -34, 1, 54, -118, -34, 72, 15};
  int sum = 0;
  for (int i = 0; i < 32; ++i) {
    const int code = static_cast<std::int8_t>(std::to_integer<int>(block[2 + i]));
    sum += code;
    if (i < 8) CHECK(code == first[i]);
  }
  CHECK(sum == -375);

  encode_row(dtype::q4_0, K.data(), 32, block);
  CHECK(load_unaligned_word<std::uint16_t>(block) == 0x2fbc);
  const int nibbles[] = {0xe4, 0x56, 0xb8, 0x9b, 0x31, 0x16, 0x1d, 0x59,
                         0x20, 0xba, 0x94, 0x67, 0x4a, 0xce, 0xf4, 0x3f};
  for (int i = 0; i < 16; ++i) CHECK(std::to_integer<int>(block[2 + i]) == nibbles[i]);
}

TEMPLATE_LIST_TEST_CASE("all 65,536 binary16 and bfloat16 words in packs", "", test_archs) {
  std::vector<std::uint16_t> words(65536);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = static_cast<std::uint16_t>(i);
  const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
  int failures = 0;
  for (const dtype type : {dtype::f16, dtype::bf16}) {
    const auto single = decoded<TestType, float>(type, bytes, 65536);
    const auto wide = decoded<TestType, double>(type, bytes, 65536);
    for (std::size_t i = 0; i < words.size(); ++i) {
      const float want = type == dtype::f16 ? from_f16(words[i]) : from_bf16(words[i]);
      const auto same = [&](auto got) {  // also the sign of zero; a signalling NaN may become a quiet one
        return std::isnan(want) ? std::isnan(got) : got == want && std::signbit(got) == std::signbit(want);
      };
      failures += !same(single[i]) + !same(wide[i]);
    }
  }
  CHECK(failures == 0);
}

TEMPLATE_LIST_TEST_CASE("rows of any length: a prefix decodes to the same bits", "", test_archs) {
  const auto x = mneme_test::random_rows<float>(1, 100, 0, 3);
  for (const dtype type : {dtype::f32, dtype::f64, dtype::bf16, dtype::f16}) {
    CAPTURE(info(type).name);
    std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(type, 100)));
    encode_row(type, x.view().data(), 100, bytes.data());
    const auto all = decoded<simd::scalar, float>(type, bytes.data(), 100);
    for (index_t n = 0; n <= 100; ++n) {
      const auto some = decoded<TestType, float>(type, bytes.data(), n);
      CHECK(same_bits(some.data(), all.data(), n));
    }
    if (type == dtype::f32 || type == dtype::f64) CHECK(same_bits(all.data(), x.view().data(), 100));
  }
}

TEST_CASE("double rows survive storage as double") {
  const auto x = mneme_test::random_rows<double>(1, 45, 0, 4);
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(dtype::f64, 45)));
  encode_row(dtype::f64, x.view().data(), 45, bytes.data());
  const auto back = decoded<simd::native, double>(dtype::f64, bytes.data(), 45);
  CHECK(same_bits(back.data(), x.view().data(), 45));
}

TEST_CASE("stored_as: shape, error of each format, and what it refuses") {
  const weight w = filled_weight({3, 2, 64}, [r = random_stream(1, 1)]() mutable { return r.normal(); });
  // Half a step and the rounding of the scale, relative to the largest value of a row; q4_0 clips the end
  // opposite to that value by a whole step.
  const std::map<dtype, double> bound{
      {dtype::f32, 0},          {dtype::f64, 0},          {dtype::bf16, 1.0 / 256}, {dtype::f16, 1.0 / 2048},
      {dtype::q8_0, 1.0 / 225}, {dtype::q4_0, 1.0 / 7.9}, {dtype::q4_1, 1.0 / 14.9}};
  for (const auto& [type, relative] : bound) {
    CAPTURE(info(type).name);
    const weight s = stored_as(w, type);
    CHECK(s.type() == type);
    CHECK(shape_text(s.shape()) == "[3, 2, 64]");
    CHECK(s.bytes() == static_cast<std::size_t>(6 * row_bytes(type, 64)));
    for (index_t r = 0; r < 6; ++r) {
      const auto back = decoded<simd::native, float>(type, static_cast<const std::byte*>(s.row(r)), 64);
      const float* x = data<float>(w) + r * 64;
      double largest = 0;
      for (index_t i = 0; i < 64; ++i) largest = std::max(largest, std::abs(static_cast<double>(x[i])));
      for (index_t i = 0; i < 64; ++i)
        CHECK(std::abs(static_cast<double>(back[static_cast<std::size_t>(i)] - x[i])) <= relative * largest);
    }
  }
  CHECK(stored_as(w, dtype::f32) == w);
  CHECK_THROWS_WITH(stored_as(stored_as(w, dtype::f16), dtype::q8_0),
                    "cannot re-encode a F16 weight, expected F32");
  const weight ragged = constant_weight({2, 33}, 1);
  CHECK_THROWS_WITH(stored_as(ragged, dtype::q4_0), "a row of 33 columns does not fill blocks of 32 (Q4_0)");
}
