// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "gguf_files.hpp"

using io_test::append;
using io_test::append_string;
using io_test::bytes;
using io_test::gguf_writer;
using io_test::parse_gguf;
using io_test::refusal;
using io_test::sample_gguf;

namespace {

gguf_writer with_tensor(std::uint32_t type, const std::vector<std::uint64_t>& ne, std::size_t size) {
  gguf_writer w;
  w.tensor("t", type, ne, size);
  return w;
}

// Asks for everything that a file offers; the sum keeps the reads alive.
std::size_t touch(const mneme::gguf_file& f) {
  std::size_t sum = 0;
  const auto get = [&]<class T>(const std::string& key, T) { sum += f.get<T>(key).has_value(); };
  for (const auto& [key, value] : f.metadata()) {
    get(key, bool{});
    get(key, double{});
    get(key, std::int64_t{});
    get(key, std::string{});
    get(key, std::vector<std::string>{});
    get(key, std::vector<std::uint8_t>{});
    get(key, std::vector<std::int64_t>{});
    get(key, std::vector<double>{});
  }
  for (const std::string& name : f.tensor_names()) {
    const auto w = f.tensor(name);
    if (!w) continue;
    const auto* const p = static_cast<const std::byte*>(w->data());
    for (std::size_t i = 0; i < w->bytes(); ++i) sum += std::to_integer<std::size_t>(p[i]);
  }
  return sum;
}

}  // namespace

TEST_CASE("gguf versions", "[io][gguf]") {
  gguf_writer w = sample_gguf();
  w.version = 2;
  CHECK(refusal(w).empty());
  for (const std::uint32_t v : {0u, 1u, 4u, 0x03000000u}) {
    w.version = v;
    CHECK(refusal(w) ==
          "f: GGUF version " + std::to_string(v) + ", expected 2 or 3, little-endian, at byte 4");
  }
  CHECK(parse_gguf({}).error().message() == "f: not a GGUF file (no magic at byte 0)");
  CHECK(parse_gguf(io_test::bytes_of("GGML rest")).error().message() ==
        "f: not a GGUF file (no magic at byte 0)");
  CHECK(refusal(gguf_writer()).empty());
}

TEST_CASE("gguf metadata that does not fit is refused", "[io][gguf]") {
  const auto bad = [](auto&& change) {
    gguf_writer w;
    change(w);
    return refusal(w);
  };
  const auto huge = ~std::uint64_t{0};
  CHECK(bad([&](auto& w) { w.keys = huge; }) ==
        "f: 18446744073709551615 keys do not fit the file at byte 16");
  CHECK(bad([&](auto& w) { w.tensors = huge; }) ==
        "f: 18446744073709551615 tensors do not fit the file at byte 8");
  CHECK(bad([&](auto& w) { append(w.key("a", 13), 0); }) == "f: key \"a\" at byte 24: unknown value type");
  CHECK(bad([&](auto& w) { append(w.key("a", 4), std::uint8_t{0}); }) ==
        "f: key \"a\" at byte 24: the file ends inside the value");
  CHECK(bad([&](auto& w) { append(w.key("a", 8), huge); }) ==
        "f: key \"a\" at byte 24: the file ends inside a string");
  CHECK(bad([&](auto& w) { append(w.key("a", 7), std::uint8_t{2}); }) ==
        "f: key \"a\" at byte 24: a BOOL is neither 0 nor 1");
  CHECK(bad([&](auto& w) { append(w.key("", 4), 0); }) == "f: key of 0 bytes at byte 24");
  CHECK(bad([&](auto& w) { append(w.key(std::string(65536, 'a'), 4), 0); }) ==
        "f: key of 65536 bytes at byte 24");
  CHECK(bad([&](auto& w) { append(w.key("a", 4), 0), append(w.key("a", 4), 0); }) ==
        "f: duplicate key \"a\" at byte 41");
  CHECK(bad([&](auto& w) { append(w.array("a", 13, 1), 0); }) ==
        "f: key \"a\" at byte 24: unknown item type of an array");
  for (std::uint32_t type = 0; type <= 12; ++type)  // counts whose size in bytes would wrap
    for (const std::uint64_t count : {huge, huge / 2, huge / 8 + 2, huge / 12 + 2, std::uint64_t{1} << 61})
      CHECK(bad([&](auto& w) { append(w.array("a", type, count), std::uint64_t{0}); }) ==
            "f: key \"a\" at byte 24: the file ends inside the value");
}

TEST_CASE("gguf nesting is bounded", "[io][gguf]") {
  const auto nested = [](int depth) {
    gguf_writer w;
    w.array("a", 9, 1);
    for (int i = 1; i < depth; ++i) {
      append(w.key_part, std::uint32_t{9});
      append(w.key_part, std::uint64_t{1});
    }
    append(w.key_part, std::uint32_t{4});
    append(w.key_part, std::uint64_t{0});
    return refusal(w);
  };
  CHECK(nested(4).empty());
  CHECK(nested(5) == "f: key \"a\" at byte 24: arrays are nested too deeply");
  CHECK(nested(100000) == "f: key \"a\" at byte 24: arrays are nested too deeply");
}

TEST_CASE("gguf alignment", "[io][gguf]") {
  for (const std::uint32_t n : {1u, 8u, 64u, 4096u}) {
    gguf_writer w;
    w.alignment = n;
    append(w.key("general.alignment", 4), n);
    w.tensor("a", 0, {1}, 4);
    w.tensor("b", 0, {1}, 4);
    CHECK(refusal(w).empty());
  }
  for (const std::uint32_t n : {0u, 3u, 48u, 0xffffffffu}) {
    gguf_writer w;
    append(w.key("general.alignment", 4), n);
    CHECK(refusal(w) == "f: general.alignment is " + std::to_string(n) + ", expected a power of two");
  }
  gguf_writer w;
  append_string(w.key("general.alignment", 8), "32");
  CHECK(io_test::contains(refusal(w),
                          "\"general.alignment\" at byte 53 is STRING, expected an unsigned integer"));
}

TEST_CASE("gguf tensors that do not fit are refused", "[io][gguf]") {
  const std::uint64_t huge = ~std::uint64_t{0}, half = std::uint64_t{1} << 32;
  CHECK(refusal(with_tensor(0, {2, 3}, 24)).empty());
  CHECK(refusal(with_tensor(0, {2, 3}, 23)) ==
        "f: tensor \"t\" at byte 24 lies outside of the file: 24 bytes at offset 0 of 23");
  CHECK(refusal(with_tensor(0, {1, 1, 1, 1, 1}, 4)) == "f: tensor \"t\" at byte 24 has 5 dimensions");
  CHECK(refusal(with_tensor(0, {2, 0}, 4)) == "f: tensor \"t\" at byte 24 has a dimension of 0");
  CHECK(refusal(with_tensor(0, {huge}, 4)) ==
        "f: tensor \"t\" at byte 24 has a dimension of 18446744073709551615");
  CHECK(refusal(with_tensor(0, {half, half}, 4)) ==
        "f: tensor \"t\" at byte 24 has a dimension of 4294967296");
  CHECK(refusal(with_tensor(28, {std::uint64_t{1} << 61}, 4)) == "f: tensor \"t\" at byte 24 is too large");
  CHECK(refusal(with_tensor(12, {half, half}, 4)) ==
        "f: tensor \"t\" at byte 24 has a dimension of 4294967296");
  CHECK(refusal(with_tensor(8, {33}, 68)) ==
        "f: tensor \"t\" at byte 24 has rows of 33 that do not fill blocks of 32 (Q8_0)");
  CHECK(refusal(with_tensor(3, {16, 2}, 20)) ==
        "f: tensor \"t\" at byte 24 has rows of 16 that do not fill blocks of 32 (Q4_1)");
}

TEST_CASE("gguf tensors lie apart, aligned and inside", "[io][gguf]") {
  const auto rows = [](std::vector<std::uint64_t> offsets, std::uint32_t type = 0) {
    gguf_writer w;
    w.data.resize(128);
    for (std::size_t i = 0; i < offsets.size(); ++i)
      w.row(std::string(1, static_cast<char>('a' + i)), type, {12}, offsets[i]);
    return refusal(w);
  };
  CHECK(rows({0, 64}).empty());
  CHECK(rows({64, 0}).empty());
  CHECK(rows({0, 32}) == "f: tensor \"b\" at byte 57 overlaps tensor \"a\"");
  CHECK(rows({64, 64}, 1) == "f: tensor \"b\" at byte 57 overlaps tensor \"a\"");
  CHECK(rows({64, 64}, 12) == "f: tensor \"b\" at byte 57 overlaps tensor \"a\"");
  CHECK(rows({33}) == "f: tensor \"a\" at byte 24 has offset 33, expected a multiple of 32");
  CHECK(io_test::contains(rows({96}), "lies outside of the file: 48 bytes at offset 96 of 128"));
  CHECK(io_test::contains(rows({128}, 12), "lies outside of the file"));
  CHECK(io_test::contains(rows({~std::uint64_t{31}}), "lies outside of the file"));
  gguf_writer twice;
  twice.tensor("a", 0, {1}, 4);
  twice.tensor("a", 0, {1}, 4);
  CHECK(refusal(twice) == "f: tensor \"a\" at byte 57 is there twice");
}

TEST_CASE("gguf messages stay on one short line", "[io][gguf]") {
  gguf_writer w;
  w.tensor("a\nb\x1b[31m" + std::string(1000, 'x'), 0, {2}, 4);
  const std::string text = refusal(w);
  CHECK(io_test::contains(text, "tensor \"a?b?[31mxxx"));
  CHECK(text.size() < 250);
}

TEST_CASE("damaged gguf files do no harm", "[io][gguf]") {
  std::size_t sum = 0, accepted = 0;
  const auto probe = [&](const bytes& bad) {
    const auto f = parse_gguf(bad);
    if (!f) return;
    ++accepted;
    sum += touch(*f);
  };
  const bytes good = sample_gguf().file();
  REQUIRE(parse_gguf(good));
  io_test::for_every_damage(good, probe);
  io_test::for_every_hostile_number(good, probe);
  CHECK(accepted > 0);
  CHECK(sum > 0);
}
