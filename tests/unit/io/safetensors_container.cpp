// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "safetensors_files.hpp"

using io_test::bytes;
using io_test::container;
using io_test::entry;
using io_test::parse_safetensors;
using mneme::index_t;

namespace {

// The error of a file, or "" if it is accepted.
std::string refusal(std::string_view header, std::size_t data) {
  const auto f = parse_safetensors(container(header, data));
  return f ? "" : f.error().message();
}

}  // namespace

TEST_CASE("safetensors of every type", "[io][safetensors]") {
  std::string header = R"({"__metadata__":{"a":"b","c\n":"\u00e9"})";
  std::size_t end = 0;
  for (const auto& [type, size] : mneme::detail::tensor_types) {
    const std::size_t begin = end;
    end += 6 * static_cast<std::size_t>(size);
    header += ",\"t_" + std::string(type) + "\": {\"dtype\":\"" + std::string(type) +
              "\", \"shape\":[2,3], \"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) +
              "]}";
  }
  header += "}   ";
  const auto f = parse_safetensors(container(header, end));
  REQUIRE(f);
  CHECK(f->tensors().size() == 13);
  CHECK(f->metadata() == mneme::metadata_map{{"a", "b"}, {"c\n", "\u00e9"}});
  CHECK(f->contains("t_BOOL"));
  const auto t = f->tensor("t_I64");  // second, behind 48 bytes
  REQUIRE(t);
  CHECK(t->type == "I64");
  CHECK(t->shape == std::vector<index_t>{2, 3});
  CHECK(t->bytes.size() == 48);
  CHECK(t->bytes[0] == std::byte{48});
  CHECK(f->tensor("x").error().message() == "f: no tensor \"x\"");
}

TEST_CASE("safetensors accepts what the format allows", "[io][safetensors]") {
  CHECK(refusal("{}", 0).empty());
  CHECK(refusal("{}      ", 0).empty());
  CHECK(refusal(R"({"__metadata__":{}})", 0).empty());
  CHECK(refusal(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4).empty());
  CHECK(refusal(R"({"e":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]}})", 0).empty());
  CHECK(refusal(R"({"e":{"shape":[1152921504606846976,4294967296,0],"dtype":"F32","data_offsets":[1,1]},)"
                R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                1)
            .empty());
  CHECK(refusal(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
                R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                3)
            .empty());
}

TEST_CASE("malformed safetensors are refused", "[io][safetensors]") {
  const auto one = [](const std::string& body, std::size_t data) {
    return refusal("{\"t\":" + body + "}", data);
  };
  CHECK(parse_safetensors({}).error().message() == "f: 0 bytes are no safetensors file");
  CHECK(parse_safetensors(bytes(7)).error().message() == "f: 7 bytes are no safetensors file");
  bytes huge = container("{}", 0);
  huge[7] = std::byte{0xff};
  CHECK(parse_safetensors(huge).error().message() ==
        "f: header of 18374686479671623682 bytes, the file has 10");
  const std::string other = "f: no safetensors file, expected { at byte 8: it begins with ";
  CHECK(refusal("", 0) == other + "\"????????\"");
  CHECK(refusal(" {}", 0) == other + "\"???????? {}\"");
  const std::string_view pointer = "version https://git-lfs.github.com/spec/v1\n";
  const auto* const at = reinterpret_cast<const std::byte*>(pointer.data());
  CHECK(parse_safetensors(bytes(at, at + pointer.size())).error().message() ==
        other + "\"version https://\"");
  bytes empty = container("{}", 0);
  empty[0] = std::byte{0};
  CHECK(parse_safetensors(empty).error().message() == "f: header of 0 bytes, expected an object");
  CHECK(refusal("{}\n", 0).empty());  // white space of JSON, though not the padding that the format names
  CHECK(refusal("{} x", 0) == "f: header: expected the end at byte 11");
  CHECK(refusal(R"({"__metadata__":{"a":1}})", 0) == "f: header: expected a string at byte 29");
  CHECK(refusal(R"({"__metadata__":[]})", 0) == "f: header: expected an object at byte 24");
  CHECK(one("1", 0) == "f: header: expected an object at byte 13");
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[1]})", 4),
                          "tensor \"t\" lacks a dtype, a shape or data_offsets"));
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4),
                          "tensor \"t\" has the unknown member \"x\""));
  CHECK(io_test::contains(one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4),
                          "duplicate key \"dtype\""));
  CHECK(io_test::contains(one(R"({"dtype":"F8","shape":[4],"data_offsets":[0,4]})", 4),
                          "tensor \"t\" has the unknown dtype \"F8\""));
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4),
                          "number out of range"));
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4),
                          "expected a whole number"));
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})", 4),
                          "tensor \"t\" is too large: [4294967296, 4294967296]"));
  CHECK(io_test::contains(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4),
                          "tensor \"t\" has data_offsets [0, 4], expected 8 bytes for F32 [2]"));
  for (const char* offsets :
       {"[0]", "[]", "[0,4,4]", "[4,0]", "[0,8]", "[9223372036854775803,9223372036854775807]"})
    CHECK(io_test::contains(
        one(R"({"dtype":"F32","shape":[1],"data_offsets":)" + std::string(offsets) + "}", 4),
        "tensor \"t\" has data_offsets"));
}

TEST_CASE("safetensors data is covered exactly once", "[io][safetensors]") {
  const auto two = [](int a, int b, int c, int d, std::size_t data) {
    const auto t = [](int from, int to) {
      return R"({"dtype":"U8","shape":[)" + std::to_string(to - from) + R"(],"data_offsets":[)" +
             std::to_string(from) + "," + std::to_string(to) + "]}";
    };
    return refusal("{\"a\":" + t(a, b) + ",\"b\":" + t(c, d) + "}", data);
  };
  CHECK(two(0, 2, 2, 5, 5).empty());
  CHECK(two(2, 5, 0, 2, 5).empty());
  CHECK(two(0, 2, 3, 5, 5) == "f: tensor \"b\" starts at offset 3 of the data, expected 2");
  CHECK(two(0, 3, 2, 5, 5) == "f: tensor \"b\" starts at offset 2 of the data, expected 3");
  CHECK(two(0, 2, 0, 2, 2) == "f: tensor \"b\" starts at offset 0 of the data, expected 2");
  CHECK(two(1, 2, 2, 5, 5) == "f: tensor \"a\" starts at offset 1 of the data, expected 0");
  CHECK(two(0, 2, 2, 5, 6) == "f: the tensors end at offset 5 of the data, expected 6");
  CHECK(refusal("{}", 1) == "f: the tensors end at offset 0 of the data, expected 1");
}

TEST_CASE("safetensors come back, and equal content gives equal bytes", "[io][safetensors]") {
  const bytes a = io_test::bytes_of("aaaaaaaa"), b = io_test::bytes_of("bbb"), c = io_test::bytes_of("cccc");
  const std::vector<mneme::tensor_entry> entries = {
      entry("z", "F32", {2}, a), entry("b\n\"", "U8", {3}, b), entry("a", "I64", {}, a),
      entry("none", "F16", {0, 7}, {}), entry("c", "F32", {1, 1}, c)};
  const std::vector<mneme::tensor_entry> reversed(entries.rbegin(), entries.rend());
  const auto content = mneme::write_safetensors(entries, {{"k", "v\\"}, {"j", ""}});
  REQUIRE(content);
  CHECK(*content == *mneme::write_safetensors(reversed, {{"j", ""}, {"k", "v\\"}}));
  const auto f = parse_safetensors(*content);
  REQUIRE(f);
  CHECK(f->metadata() == mneme::metadata_map{{"k", "v\\"}, {"j", ""}});
  CHECK(f->tensors().size() == entries.size());
  for (const auto& e : entries) {
    const auto t = f->tensor(e.name);
    REQUIRE(t);
    CHECK(t->type == e.type);
    CHECK(t->shape == e.shape);
    CHECK(std::ranges::equal(t->bytes, e.bytes));
  }
  const std::string text(reinterpret_cast<const char*>(content->data()) + 8, content->size() - 8);
  CHECK(text.starts_with(
      R"({"__metadata__":{"j":"","k":"v\\"},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("c":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"z":)"));
  CHECK((content->size() - 8 - 8 - 8 - 4 - 3) % 8 == 0);  // the data section is aligned
}

TEST_CASE("safetensors that cannot be written are refused", "[io][safetensors]") {
  const bytes four(4);
  const auto refused = [&](std::vector<mneme::tensor_entry> entries,
                           const mneme::metadata_map& metadata = {}) {
    const auto r = mneme::write_safetensors(entries, metadata);
    return r ? "" : r.error().message();
  };
  CHECK(refused({entry("a", "F32", {1}, four), entry("b", "U8", {4}, four), entry("a", "U8", {4}, four)}) ==
        "tensor \"a\": two of this name");
  CHECK(refused({entry("__metadata__", "F32", {1}, four)}) ==
        "tensor \"__metadata__\": the format reserves this name");
  CHECK(refused({entry("a\xff", "F32", {1}, four)}) == "tensor \"a\xff\": the name is not UTF-8");
  CHECK(refused({entry("a", "Q8_0", {1}, four)}) == "tensor \"a\": no dtype \"Q8_0\" in safetensors");
  CHECK(refused({entry("a", "F32", {2}, four)}) == "tensor \"a\": 4 bytes do not fill F32 [2]");
  CHECK(refused({entry("a", "F32", {-1, -1}, four)}) == "tensor \"a\": shape [-1, -1]");
  CHECK(refused({}, {{"k", "\xff"}}) == "metadata \"k\": not UTF-8");
  const io_test::folder here;
  const std::vector<mneme::tensor_entry> bad = {entry("a", "F32", {2}, four)};
  CHECK(mneme::save_safetensors(here / "a", bad).error().message() ==
        (here / "a") + ": tensor \"a\": 4 bytes do not fill F32 [2]");
  CHECK(here.files() == 0);
}
