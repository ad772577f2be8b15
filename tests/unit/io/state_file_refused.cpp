// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "states.hpp"

using io_test::about;
using io_test::bytes;
using io_test::saved;
using io_test::stream;
using io_test::used;
using mneme::index_t;
using mneme::state_info;

namespace {

struct twins {
  float a = 0, b = 0;
  static constexpr void fields(auto&& f, auto&... s) {
    f("x", s.a...);
    f("x", s.b...);
  }
};

// The error of loading, which must leave the state as it was.
std::string refusal(const bytes& file, const stream& into = used(9), const state_info& expected = about) {
  stream s = into;
  const auto block = io_test::exact(file);
  const auto r = mneme::load_state(std::span<const std::byte>(*block), s, expected);
  if (r) return "";
  CHECK(s == into);
  return r.error().message();
}
// A file with other tensors or metadata and a right checksum.
bytes forged(const std::vector<mneme::tensor_entry>& tensors, const mneme::metadata_map& changes = {}) {
  mneme::metadata_map metadata{{"checksum", "0000000000000000"},
                               {"config_hash", about.config_hash},
                               {"format", "mneme.state"},
                               {"format_version", "1.0"},
                               {"kind", about.kind},
                               {"library_version", "0.1.0"},
                               {"note", ""},
                               {"position", "0"},
                               {"weights_fingerprint", about.weights_fingerprint}};
  for (const auto& [key, text] : changes) metadata[key] = text;
  std::erase_if(metadata, [](const auto& m) { return m.second == "<none>"; });
  auto file = mneme::write_safetensors(tensors, metadata);
  REQUIRE(file);
  const std::string sum = mneme::detail::state_checksum(*file);
  if (metadata.begin()->first != "checksum") return *file;
  std::memcpy(file->data() + mneme::detail::checksum_at, sum.data(), sum.size());
  return *file;
}

}  // namespace

TEST_CASE("a state of another origin is refused", "[io][state]") {
  const bytes file = saved(used());
  const auto with = [&](auto change) {
    state_info e = about;
    change(e);
    return refusal(file, used(9), e);
  };
  CHECK(with([](auto& e) { e.note = "", e.position = 5; }).empty());  // these say nothing about the origin
  CHECK(with([](auto& e) { e.kind = "other"; }) == "state: kind is \"stream\", expected \"other\"");
  CHECK(with([](auto& e) { e.config_hash = ""; }) == "state: config_hash is \"c0ffee\", expected \"\"");
  CHECK(with([](auto& e) { e.weights_fingerprint = "f00d"; }) ==
        "state: weights_fingerprint is \"feed\", expected \"f00d\"");
}

TEST_CASE("metadata that is missing or of another format is refused", "[io][state]") {
  CHECK(refusal(forged({}, {{"format", "pt"}})) == "state: format is \"pt\", expected \"mneme.state\"");
  CHECK(refusal(forged({}, {{"format", "<none>"}})) == "state: format is missing, expected \"mneme.state\"");
  for (const char* version : {"2.0", "1", "1.", "1.x", "1.0 ", "0.9", "10.0", "", "1.-1"})
    CHECK(refusal(forged({}, {{"format_version", version}})) ==
          "state: format_version is \"" + std::string(version) + "\", expected 1.x");
  for (const char* position : {"", "x", "1x", " 1", "99999999999999999999"})
    CHECK(refusal(forged({}, {{"position", position}})) ==
          "state: position is \"" + std::string(position) + "\", expected a number");
  for (const std::string key :
       {"kind", "config_hash", "weights_fingerprint", "note", "library_version", "position"})
    CHECK(refusal(forged({}, {{key, "<none>"}})) == "state: " + key + " is missing, expected a text");
  CHECK(io_test::contains(refusal(forged({}, {{"a", "comes first"}})), "expected 16 digits at byte 37"));
  mneme::nothing none;  // a later minor version may add keys
  CHECK(mneme::load_state(
      std::span<const std::byte>(forged({}, {{"format_version", "1.37"}, {"zeal", "high"}})), none, about));
}

TEST_CASE("tensors that are not those of the state are refused", "[io][state]") {
  const bytes raw(64);
  const auto first = [&](std::size_t n) { return std::span(raw).first(n); };
  const auto tensors = [&] {
    return std::vector<mneme::tensor_entry>{{"h", "F64", {3}, first(24)},
                                            {"layers.0.keys", "F32", {0}, {}},
                                            {"layers.0.codes", "I8", {0}, {}},
                                            {"layers.0.size", "I64", {}, first(8)},
                                            {"layers.1.keys", "F32", {2}, first(8)},
                                            {"layers.1.codes", "I8", {7}, first(7)},
                                            {"layers.1.size", "I64", {}, first(8)},
                                            {"scale", "F32", {}, first(4)},
                                            {"steps", "U32", {}, first(4)}};
  };
  CHECK(refusal(forged(tensors())).empty());
  const auto with = [&](auto change) {
    auto t = tensors();
    change(t);
    return refusal(forged(t));
  };
  CHECK(with([](auto& t) { t.pop_back(); }) == "state: no tensor \"steps\"");
  CHECK(with([&](auto& t) { t.push_back({"more", "U8", {1}, first(1)}); }) ==
        "state: unknown tensor \"more\", no field of the state has this name");
  CHECK(with([&](auto& t) { t.push_back({"layers.2.size", "I64", {}, first(8)}); }) ==
        "state: unknown tensor \"layers.2.size\", no field of the state has this name");
  CHECK(with([](auto& t) { t[3].type = "U64"; }) ==
        "state: tensor \"layers.0.size\" is U64 [], expected I64 []");
  CHECK(with([](auto& t) { t[0].type = "I64"; }) == "state: tensor \"h\" is I64 [3], expected F64 [any]");
  CHECK(with([&](auto& t) { t[0] = {"h", "BF16", {4}, first(8)}; }) ==
        "state: tensor \"h\" is BF16 [4], expected F64 [any]");
  CHECK(with([](auto& t) { t[0].shape = {3, 1}; }) ==
        "state: tensor \"h\" is F64 [3, 1], expected F64 [any]");
  CHECK(with([&](auto& t) { t[0] = {"h", "F64", {}, first(8)}; }) ==
        "state: tensor \"h\" is F64 [], expected F64 [any]");
  CHECK(with([](auto& t) { t[8].shape = {1}; }) == "state: tensor \"steps\" is U32 [1], expected U32 []");
}

TEST_CASE("damaged state files are refused and the state stays", "[io][state]") {
  const bytes good = saved(used());
  const stream before = used(9);
  stream s = before;
  std::size_t accepted = 0, changed = 0;
  const auto probe = [&](const bytes& bad) {
    if (bad == good) return;
    const auto block = io_test::exact(bad);
    accepted += mneme::load_state(std::span<const std::byte>(*block), s, about).has_value();
    accepted += mneme::read_state_info(*block).has_value();
    changed += !(s == before);
  };
  io_test::for_every_damage(good, probe);
  io_test::for_every_hostile_number(good, probe);
  CHECK(accepted == 0);
  CHECK(changed == 0);
  CHECK(mneme::load_state(std::span<const std::byte>(good), s, about));
}

TEST_CASE("text that is not UTF-8 is not saved", "[io][state]") {
  state_info bad = about;
  bad.note = "\xff";
  CHECK(mneme::save_state(used(), bad).error().message() == "metadata \"note\": not UTF-8");
  const io_test::folder here;
  CHECK(mneme::save_state(here / "s", used(), bad).error().message() ==
        (here / "s") + ": metadata \"note\": not UTF-8");
  CHECK(here.files() == 0);
}

TEST_CASE("leaves of one path are not saved", "[io][state]") {
  CHECK(mneme::save_state(twins(), about).error().message() == "tensor \"x\": two of this name");
}
