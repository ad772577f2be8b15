// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "gguf_files.hpp"

using io_test::append;
using io_test::bytes;
using io_test::gguf_writer;
using io_test::parse_gguf;
using io_test::sample_gguf;
using mneme::dtype;
using mneme::gguf_file;
using mneme::index_t;

TEST_CASE("gguf metadata of every type", "[io][gguf]") {
  const auto f = parse_gguf(sample_gguf().file());
  REQUIRE(f);
  CHECK(f->version() == 3);
  CHECK(f->alignment() == 32);
  CHECK(f->metadata().size() == 17);
  CHECK(*f->get<std::uint8_t>("u8") == 200);
  CHECK(*f->get<std::int8_t>("i8") == -100);
  CHECK(*f->get<std::uint16_t>("u16") == 60000);
  CHECK(*f->get<std::int16_t>("i16") == -30000);
  CHECK(*f->get<std::uint32_t>("u32") == 4000000000u);
  CHECK(*f->get<std::int32_t>("i32") == -2000000000);
  CHECK(*f->get<float>("f32") == 0.1f);
  CHECK(*f->get<bool>("yes"));
  CHECK(*f->get<std::string>("general.architecture") == "llama \u00e9");
  CHECK(*f->get<std::uint64_t>("u64") == ~std::uint64_t{0});
  CHECK(*f->get<std::int64_t>("i64") == std::numeric_limits<std::int64_t>::min());
  CHECK(*f->get<double>("f64") == 0.1);
  CHECK(*f->get<std::vector<std::string>>("strings") == std::vector<std::string>{"a", ""});
  CHECK(*f->get<std::vector<float>>("floats") == std::vector<float>{1.5f, -2.5f});
  CHECK(*f->get<std::vector<std::uint8_t>>("flags") == std::vector<std::uint8_t>{1, 0});
  CHECK(f->get<std::vector<std::string>>("none")->empty());
  CHECK(f->has("nested"));
  CHECK_FALSE(f->has("u"));
}

TEST_CASE("gguf numbers widen and never wrap", "[io][gguf]") {
  const auto f = parse_gguf(sample_gguf().file());
  REQUIRE(f);
  CHECK(*f->get<index_t>("u8") == 200);
  CHECK(*f->get<index_t>("u32") == 4000000000);
  CHECK(*f->get<double>("f32") == double{0.1f});
  CHECK(f->get<std::int32_t>("u32").error().message() ==
        "f: key \"u32\" at byte 103 is UINT32 with a value out of range, expected an integer of 32 bits");
  CHECK_FALSE(f->get<std::uint64_t>("i8"));
  CHECK_FALSE(f->get<std::int64_t>("u64"));
  CHECK_FALSE(f->get<float>("f64"));
  CHECK_FALSE(f->get<float>("u8"));
  CHECK_FALSE(f->get<int>("f32"));
  CHECK_FALSE(f->get<int>("yes"));
  CHECK_FALSE(f->get<bool>("u8"));
}

TEST_CASE("gguf getters name the key and both types", "[io][gguf]") {
  const auto f = parse_gguf(sample_gguf().file());
  REQUIRE(f);
  const auto tail = [](const auto& e) {
    return e.error().message().substr(e.error().message().find(" is "));
  };
  CHECK(f->get<float>("absent").error().message() == "f: no key \"absent\"");
  CHECK(tail(f->get<float>("strings")) == " is ARRAY of STRING, expected a float of 32 bits");
  CHECK(tail(f->get<std::string>("f32")) == " is FLOAT32, expected STRING");
  CHECK(tail(f->get<std::vector<std::string>>("floats")) == " is ARRAY of FLOAT32, expected ARRAY of STRING");
  CHECK(tail(f->get<std::vector<int>>("u8")) == " is UINT8, expected ARRAY of an integer of 32 bits");
  CHECK(tail(f->get<std::vector<unsigned>>("nested")) ==
        " is ARRAY of ARRAY, expected ARRAY of an unsigned integer of 32 bits");
  CHECK(tail(f->get<bool>("nested")) == " is ARRAY of ARRAY, expected BOOL");
}

TEST_CASE("gguf tensors are weights with reversed shapes", "[io][gguf]") {
  const gguf_writer w = sample_gguf();
  const auto f = parse_gguf(w.file());
  REQUIRE(f);
  CHECK(f->tensor_names() == std::vector<std::string>{"f32", "q8_0", "q4_1", "cube", "k", "four", "bf16"});
  CHECK(f->contains("cube"));
  CHECK_FALSE(f->contains("cub"));
  const auto check = [&](const char* name, dtype type, const char* shape, std::size_t size) {
    const auto t = f->tensor(name);
    REQUIRE(t);
    CHECK(t->type() == type);
    CHECK(mneme::shape_text(t->shape()) == shape);
    CHECK(t->bytes() == size);
    const auto row = std::ranges::find(f->tensors(), name, &mneme::gguf_tensor::name);
    CHECK(std::memcmp(t->data(), w.data.data() + row->offset, size) == 0);
  };
  check("f32", dtype::f32, "[2, 3]", 24);
  check("q8_0", dtype::q8_0, "[3, 64]", 204);
  check("q4_1", dtype::q4_1, "[32]", 20);
  check("cube", dtype::f16, "[4, 3, 2]", 48);
  check("bf16", dtype::bf16, "[5]", 10);
}

TEST_CASE("gguf tensors that a weight cannot hold are errors only when asked for", "[io][gguf]") {
  const auto f = parse_gguf(sample_gguf().file());
  REQUIRE(f);
  CHECK(f->tensor("absent").error().message() == "f: no tensor \"absent\"");
  CHECK(io_test::contains(f->tensor("k").error().message(), "tensor \"k\" at byte "));
  CHECK(io_test::contains(f->tensor("k").error().message(), " has the unsupported type 12 (Q4_K)"));
  CHECK(io_test::contains(f->tensor("four").error().message(), " has 4 dimensions, expected 1 to 3"));
  gguf_writer w;
  w.tensor("scalar", 0, {}, 4);
  w.tensor("future", 1000, {7}, 1);
  w.tensor("removed", 4, {7}, 1);
  const auto g = parse_gguf(w.file());
  REQUIRE(g);
  CHECK(io_test::contains(g->tensor("scalar").error().message(), " has 0 dimensions"));
  CHECK(g->tensor("future").error().message() ==
        "f: tensor \"future\" at byte 54 has the unsupported type 1000");
  CHECK(io_test::contains(g->tensor("removed").error().message(), " has the unsupported type 4"));
}

TEST_CASE("gguf weights own the mapping", "[io][gguf]") {
  const io_test::folder here;
  const std::string path = here / "m.gguf";
  io_test::write(path, sample_gguf().file());
  mneme::weight kept;
  {
    const auto f = gguf_file::open(path);
    REQUIRE(f);
    kept = *f->tensor("q8_0");
    CHECK(kept.shared());
  }
  std::filesystem::remove(path);
  CHECK(static_cast<const std::byte*>(kept.data())[203] == static_cast<std::byte>(203 + 2));
  CHECK(gguf_file::open(path).error().message() == path + ": cannot open: No such file or directory");
}

TEST_CASE("gguf weights are copies where their place does not suit", "[io][gguf]") {
  gguf_writer w;
  w.alignment = 1;
  append(w.key("general.alignment", 4), std::uint32_t{1});
  w.tensor("a", 0, {2}, 8);
  w.tensor("b", 0, {2}, 8);
  bytes content = w.file();
  for (int shift = 0; shift < 4; ++shift) {  // one of four places is aligned
    const auto block = io_test::exact(content);
    const auto f = gguf_file::parse(std::span(*block).subspan(static_cast<std::size_t>(shift)), block, "f");
    REQUIRE(f);
    const auto b = f->tensor("b");
    REQUIRE(b);
    CHECK(reinterpret_cast<std::uintptr_t>(b->data()) % 4 == 0);
    CHECK(std::memcmp(b->data(), w.data.data() + 8, 8) == 0);
    content.insert(content.begin(), std::byte{});
  }
  const bytes plain = w.file();
  const auto unowned = gguf_file::parse(plain, nullptr, "f");
  CHECK(unowned->tensor("a")->data() != plain.data() + unowned->data_offset());
}
