// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "states.hpp"

#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/chain.hpp>

using io_test::about;
using io_test::bytes;
using io_test::saved;
using mneme::buffer;
using mneme::index_t;
using mneme::state_info;

namespace {

// A sum over the last rows: `ring` has a fixed size, `head` must lie within.
struct ring_state {
  buffer<float> ring;
  index_t head = 0;
  friend bool operator==(const ring_state&, const ring_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("ring", s.ring...);
    f("head", s.head...);
  }
};
struct plain_ring {
  using scalar = float;
  using state = ring_state;
  index_t d_in() const { return 1; }
  index_t d_out() const { return 1; }
  state init(mneme::place where = {}) const { return {buffer<float>(4, 0.f, where), 0}; }
  void step(mneme::context&, state& s, mneme::row_view<const float> x,
            mneme::row_view<float> y) const noexcept {
    s.ring[s.head] = x[0];
    s.head = (s.head + 1) % s.ring.size();
    y[0] = 0;
    for (const float v : s.ring) y[0] += v;
  }
};
struct checked_ring : plain_ring {
  bool valid(const state& s) const { return s.ring.size() == 4 && s.head >= 0 && s.head < 4; }
};
struct growing_ring : plain_ring {
  bool reserve(state&, index_t) const { return true; }
  bool valid(const state& s) const { return s.head >= 0 && s.head < s.ring.size(); }
};
static_assert(mneme::Validated<checked_ring> && mneme::Growing<growing_ring> &&
              !mneme::Validated<plain_ring>);

}  // namespace

TEST_CASE("a memory is asked whether it can go on", "[io][state]") {
  const auto file = [](index_t size, index_t head) {
    return saved(ring_state{buffer<float>(size, 1.f), head});
  };
  const auto load = [](const auto& m, const bytes& content) {
    auto s = m.init();
    const auto before = s;
    const auto r = mneme::load_state(std::span<const std::byte>(content), m, s, about);
    if (!r) CHECK(s == before);
    return r ? "" : r.error().message();
  };
  const std::string unfit = "state: the parts of the state do not fit each other or this memory";
  CHECK(load(checked_ring(), file(4, 3)).empty());
  CHECK(load(checked_ring(), file(4, 4)) == unfit);
  CHECK(load(checked_ring(), file(4, -1)) == unfit);
  CHECK(load(checked_ring(), file(5, 0)) == unfit);
  CHECK(load(plain_ring(), file(4, 3)).empty());
  CHECK_FALSE(load(plain_ring(), file(3, 0)).empty());
  CHECK_FALSE(load(plain_ring(), file(0, 0)).empty());
  CHECK(load(growing_ring(), file(9, 0)).empty());
  CHECK_FALSE(load(growing_ring(), file(0, 0)).empty());
  const io_test::folder here;
  io_test::write(here / "s", file(5, 0));
  auto s = plain_ring().init();
  CHECK(mneme::load_state(here / "s", plain_ring(), s, about).error().message() ==
        (here / "s") + ": the parts of the state do not fit each other or this memory");
  CHECK(mneme::load_state(here / "s", growing_ring(), s, about));
  CHECK(s.ring.size() == 5);
}

TEST_CASE("a composed memory asks its parts", "[io][state]") {
  const auto refused = [](const auto& m) {
    auto s = m.init();
    index_t leaves = 0, accepted = 0;
    mneme::visit_leaves(s, [&](const mneme::field_path&, const mneme::leaf&) { ++leaves; });
    for (index_t broken = 0; broken < leaves; broken += 2) {  // every other leaf is a ring
      auto bad = m.init();
      index_t i = 0;
      mneme::visit_leaves(bad, [&](const mneme::field_path&, const mneme::leaf& l) {
        if (i++ == broken) l.resize(l.owner, 9);
      });
      accepted += mneme::load_state(std::span<const std::byte>(saved(bad)), m, s, about).has_value();
    }
    return leaves >= 4 && accepted == 0 && s == m.init();
  };
  CHECK(refused(mneme::chain(plain_ring(), checked_ring())));
  CHECK(refused(mneme::any_memory<float>(mneme::chain(checked_ring(), plain_ring()))));
  CHECK(refused(
      mneme::chain(mneme::any_memory<float>(plain_ring()), mneme::any_memory<float>(checked_ring()))));
}

TEST_CASE("states of erased and composed memories come back and continue equally", "[io][state]") {
  const auto round_trip = [](const auto& m) {
    mneme::context ctx;
    float x[2] = {1, 2}, y[2] = {}, z[2] = {};
    auto s = m.init();
    for (int i = 0; i < 3; ++i) m.step(ctx, s, {x, 1}, {y, 1});
    const bytes content = saved(s);
    auto t = m.init();
    REQUIRE(mneme::load_state(std::span<const std::byte>(content), m, t, about));
    CHECK(t == s);
    CHECK(saved(t) == content);
    m.step(ctx, s, {x + 1, 1}, {y, 1});
    m.step(ctx, t, {x + 1, 1}, {z, 1});
    CHECK(y[0] == z[0]);
    CHECK(t == s);
  };
  const auto two = mneme::chain(plain_ring(), checked_ring());
  const mneme::any_memory<float> erased{plain_ring()}, both{two};
  round_trip(two);
  round_trip(erased);
  round_trip(both);
  auto s = erased.init();
  const auto r = mneme::load_state(std::span<const std::byte>(saved(both.init())), erased, s, about);
  CHECK(r.error().message() == "state: no tensor \"ring\"");
  mneme::any_state<float> none;
  const bytes one = saved(s);
  CHECK(mneme::load_state(std::span<const std::byte>(one), none, about).error().message() ==
        "state: unknown tensor \"head\", no field of the state has this name");
}

TEST_CASE("a file of version 1.0 is read for ever", "[io][state]") {
  bytes content = io_test::bytes_of(
      R"(--------{"__metadata__":{"checksum":"25d8640a89711614","config_hash":"c","format":"mneme.state",)"
      R"("format_version":"1.0","kind":"ring","library_version":"0.1.0","note":"frozen","position":"6",)"
      R"("weights_fingerprint":"w"},"head":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("ring":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}       )");
  bytes length;
  io_test::append(length, std::uint64_t{0x148});
  std::ranges::copy(length, content.begin());
  io_test::append(content, std::uint64_t{2});
  for (const std::uint32_t bits : {0x3f000000u, 0x3fc00000u, 0x40200000u, 0x40600000u})
    io_test::append(content, bits);
  buffer<float> ring(4);
  for (index_t i = 0; i < 4; ++i) ring[i] = static_cast<float>(i) + 0.5f;
  const ring_state wanted{ring, 2};
  ring_state s = plain_ring().init();
  const auto info =
      mneme::load_state(std::span<const std::byte>(content), plain_ring(), s, {"ring", "c", "w", "", 0, ""});
  REQUIRE(info);
  CHECK(*info == state_info{"ring", "c", "w", "frozen", 6, "0.1.0"});
  CHECK(s == wanted);
}
