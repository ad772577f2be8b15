// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "states.hpp"

using io_test::about;
using io_test::bytes;
using io_test::fresh;
using io_test::saved;
using io_test::stream;
using io_test::used;
using mneme::index_t;
using mneme::state_info;

TEST_CASE("a state comes back", "[io][state]") {
  const stream s = used();
  const bytes file = saved(s);
  for (stream into : {fresh(), used(3), used()}) {
    const auto info = mneme::load_state(std::span<const std::byte>(file), into, about);
    REQUIRE(info);
    CHECK(into == s);
    state_info wanted = about;
    wanted.library_version = MNEME_VERSION_STRING;
    CHECK(*info == wanted);
  }
}

TEST_CASE("an empty state comes back", "[io][state]") {
  mneme::nothing none;
  CHECK(mneme::load_state(std::span<const std::byte>(saved(none)), none, about));
  stream into = used();
  CHECK(mneme::load_state(std::span<const std::byte>(saved(fresh())), into, about));
  CHECK(into == fresh());
}

TEST_CASE("equal states give equal bytes", "[io][state]") {
  stream grown = fresh();
  grown.layers.items[1].keys.reserve(1000);  // room is no content
  grown = used();
  CHECK(saved(grown) == saved(used()));
  stream again;
  again = fresh();
  REQUIRE(mneme::load_state(std::span<const std::byte>(saved(used())), again, about));
  CHECK(saved(again) == saved(used()));
  CHECK(saved(used()) != saved(used(1)));
  state_info other = about;
  other.note += "x";
  CHECK(saved(used()) != saved(used(), other));
}

TEST_CASE("a state file is a safetensors file", "[io][state]") {
  const bytes content = saved(used());
  const auto f = mneme::safetensors_file::parse(content, nullptr, "f");
  REQUIRE(f);
  CHECK(f->tensors().size() == 9);
  CHECK(f->tensor("h")->type == "F64");
  CHECK(f->tensor("layers.1.keys")->shape == std::vector<index_t>{5});
  CHECK(f->tensor("layers.0.codes")->shape == std::vector<index_t>{0});
  CHECK(f->tensor("layers.1.codes")->type == "I8");
  CHECK(f->tensor("layers.1.size")->type == "I64");
  CHECK(f->tensor("steps")->type == "U32");
  CHECK(f->tensor("scale")->shape.empty());
  CHECK(f->metadata().at("format") == "mneme.state");
  CHECK(f->metadata().at("format_version") == "1.0");
  CHECK(f->metadata().at("position") == "-12");
  CHECK(f->metadata().at("note") == about.note);
}

TEST_CASE("states are saved to files and loaded from them", "[io][state]") {
  const io_test::folder here;
  const std::string path = here / "s.state";
  REQUIRE(mneme::save_state(path, used(), about));
  CHECK(io_test::read(path) == saved(used()));
  REQUIRE(mneme::save_state(path, used(1), about));  // replaces
  CHECK(here.files() == 1);
  stream s = fresh();
  const auto info = mneme::load_state(path, s, about);
  REQUIRE(info);
  CHECK(s == used(1));
  CHECK(mneme::read_state_info(path)->position == -12);
  CHECK(*mneme::read_state_info(path) == *mneme::read_state_info(saved(used(1))));
  CHECK(mneme::load_state(here / "no", s, about).error().message() ==
        (here / "no") + ": cannot open: No such file or directory");
  CHECK_FALSE(mneme::read_state_info(here / "no"));
  CHECK(
      io_test::contains(mneme::save_state(here / "no/s", s, about).error().message(), "no/s: cannot create"));
  CHECK(mneme::load_state(here / "", s, about).error().message() == (here / "") + ": not a regular file");
  CHECK(s == used(1));
}
