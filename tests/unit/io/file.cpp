// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "files.hpp"

#include <mneme/io/hash.hpp>
#include <mneme/io/mapped_file.hpp>
#include <mneme/io/replace_file.hpp>

using io_test::bytes_of;

TEST_CASE("a file is mapped and read", "[io]") {
  const io_test::folder here;
  const std::string path = here / "a";
  io_test::write(path, bytes_of("some bytes"));
  for (const auto open : {&mneme::mapped_file::open, &mneme::mapped_file::read}) {
    const auto file = open(path);
    REQUIRE(file);
    const auto content = (*file)->bytes();
    CHECK(io_test::bytes(content.begin(), content.end()) == bytes_of("some bytes"));
    CHECK((*file)->path() == path);
  }
}

TEST_CASE("files of awkward sizes are mapped and read", "[io]") {
  const io_test::folder here;
  const std::string path = here / "a";
  for (const std::size_t n : {0u, 1u, 4095u, 4096u, 4097u, 65535u, 65536u, 65537u, 300000u}) {
    io_test::bytes content(n);
    for (std::size_t i = 0; i < n; ++i) content[i] = static_cast<std::byte>(i * 7 + i / 251);
    io_test::write(path, content);
    for (const auto open : {&mneme::mapped_file::open, &mneme::mapped_file::read}) {
      const auto file = open(path);
      REQUIRE(file);
      CHECK(std::ranges::equal((*file)->bytes(), content));
    }
  }
}

TEST_CASE("errors of opening name the path and the reason", "[io]") {
  const io_test::folder here;
  for (const auto open : {&mneme::mapped_file::open, &mneme::mapped_file::read}) {
    const auto missing = open(here / "missing");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message() == (here / "missing") + ": cannot open: No such file or directory");
    const auto folder = open(here / "");
    REQUIRE_FALSE(folder);
    CHECK(folder.error().message() == (here / "") + ": not a regular file");
    CHECK_FALSE(open("/dev/zero"));  // has no end
  }
}

TEST_CASE("a mapping outlives the name of its file", "[io]") {
  const io_test::folder here;
  const std::string path = here / "a";
  io_test::write(path, bytes_of("old"));
  const auto file = mneme::mapped_file::open(path);
  REQUIRE(file);
  const auto content = bytes_of("new content");
  const mneme::file_part parts[] = {{std::span(content).first(3)}, {}, {std::span(content).subspan(3)}};
  CHECK(mneme::replace_file(path, parts));
  CHECK(std::ranges::equal((*file)->bytes(), bytes_of("old")));
  CHECK(io_test::read(path) == content);
  CHECK(here.files() == 1);
}

TEST_CASE("a file that cannot be replaced is left alone", "[io]") {
  const io_test::folder here;
  const auto content = bytes_of("new");
  const mneme::file_part part{content};
  const auto nowhere = mneme::replace_file(here / "no/such", {&part, 1});
  REQUIRE_FALSE(nowhere);
  CHECK(
      io_test::contains(nowhere.error().message(), "no/such: cannot create a file beside it: No such file"));
  std::filesystem::create_directory(here / "taken");
  const auto folder = mneme::replace_file(here / "taken", {&part, 1});
  REQUIRE_FALSE(folder);
  CHECK(io_test::contains(folder.error().message(), "taken: cannot rename the new file: Is a directory"));
  CHECK(here.files() == 1);
}

TEST_CASE("hash64 is XXH64", "[io]") {
  const auto hash = [](std::string_view s) { return mneme::hash64(std::as_bytes(std::span(s))); };
  CHECK(hash("") == 0xef46db3751d8e999u);
  CHECK(hash("a") == 0xd24ec4f1a98c6e5bu);
  CHECK(hash("abc") == 0x44bc2cf5ad770999u);
  CHECK(hash("Nobody inspects the spammish repetition") == 0xfbcea83c8a378bf1u);
  CHECK(mneme::hex(0x0123456789abcdefu) == "0123456789abcdef");
}
