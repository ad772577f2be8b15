// SPDX-License-Identifier: Apache-2.0
// Configurations, weights and states that kv_attention takes and refuses.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/snapkv.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/store/ring.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

using namespace mneme;

namespace {

using full = kv_attention<float>;
using window = kv_attention<float, evict::window>;
using h2o = kv_attention<float, evict::h2o>;

template <class M>
std::string refusal(const kv_attention_config& c) {
  const auto made = make<M>(c);
  return made ? "" : made.error().message();
}
template <class M>
state_t<M> after(const M& m, index_t tokens) {
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, mneme_test::random_rows<float>(tokens, m.d_in(), 0, 1));
  return s;
}

}  // namespace

TEST_CASE("configurations that are refused") {
  CHECK(refusal<full>({.d_model = 0}) == "kv_attention: d_model is 0, expected at least 1");
  CHECK(refusal<full>({.d_model = 4, .heads = 2, .kv_heads = -1}) ==
        "kv_attention: kv_heads is -1, expected at least 0");
  CHECK(refusal<full>({.d_model = 8, .heads = 4, .kv_heads = 3}) ==
        "kv_attention: heads is 4, expected a multiple of kv_heads, 3");
  CHECK(refusal<full>({.d_model = 8, .heads = 2, .kv_heads = 4}) ==
        "kv_attention: heads is 2, expected a multiple of kv_heads, 4");
  CHECK(refusal<full>({.d_model = 7, .heads = 2}) ==
        "kv_attention: d_model is 7, expected a multiple of heads, 2, or an explicit head_dim");
  CHECK(refusal<full>({.d_model = 6, .heads = 2}) ==
        "kv_attention: head_dim is 3, expected an even number for rotary positions");
  CHECK(refusal<full>({.d_model = 6, .heads = 2, .head_dim = 5}) ==
        "kv_attention: head_dim is 5, expected an even number for rotary positions");
  CHECK(refusal<window>({.d_model = 4, .heads = 2}) ==
        "kv_attention: capacity is 0, expected at least 1 under policy window");
  CHECK(refusal<full>({.d_model = 6, .heads = 2, .head_dim = 5, .rotary_dim = 6}) ==
        "kv_attention: rotary_dim is 6, expected an even number up to head_dim, 5");
  CHECK(refusal<full>({.d_model = 6, .heads = 2, .head_dim = 5, .rotary_dim = 3}) ==
        "kv_attention: rotary_dim is 3, expected an even number up to head_dim, 5");
  CHECK(
      refusal<full>({.d_model = 4, .scaling = {.how = rope_stretch::yarn, .factor = 0}}) ==
      "kv_attention: scaling has factor 0.000000 and trained length 8192.000000, expected positive numbers");
  CHECK(refusal<kv_attention<float, evict::snapkv>>(
            {.d_model = 4, .capacity = 3, .positions = kv_positions::cache}) ==
        "kv_attention: policy snapkv compares queries with keys, expected positions of the stream");
  CHECK(refusal<kv_attention<float, evict::window, store::ring<store::f32>>>(
            {.d_model = 4, .capacity = 3, .when = evict::trigger::segment}) ==
        "kv_attention: store ring cannot grow, expected evictions after every token");
  CHECK(refusal<full>({.d_model = 6, .heads = 2, .head_dim = 5, .rotary_dim = 4}) == "");
  CHECK(refusal<full>({.d_model = 6, .heads = 2, .rope_base = 0}) == "");
  CHECK(refusal<full>({.d_model = 7, .heads = 2, .head_dim = 4}) == "");
  CHECK(refusal<full>({.d_model = 4, .heads = 2, .capacity = -5}) == "");
  CHECK(refusal<window>({.d_model = 4, .heads = 2, .capacity = 1}) == "");
}

TEST_CASE("the constructor fails with what make returns") {
  const kv_attention_config wrong{.d_model = 8, .heads = 4, .kv_heads = 3};
  std::string text;
  try {
    const full m(wrong);
  } catch (const error& e) {
    text = e.message();
  }
  CHECK(text == refusal<full>(wrong));
}

TEST_CASE("sizes that are left open are filled in") {
  const full m({.d_model = 12, .heads = 6});
  CHECK(m.configuration().kv_heads == 6);
  CHECK(m.configuration().head_dim == 2);
  CHECK(m.lists() == 6);
  CHECK(m.d_in() == 12);
  CHECK(m.d_out() == 12);
  CHECK(m.capacity() == 0);
  CHECK(window({.d_model = 4, .heads = 1, .capacity = 7}).capacity() == 7);
}

TEST_CASE("weights of another shape are refused by name") {
  const kv_attention_config c{.d_model = 6, .heads = 4, .kv_heads = 2, .head_dim = 8};
  const auto refused = [&](const char* which) {
    auto p = full(c, 1).weights();
    visit_fields(
        [&](const field_path& at, weight& w) {
          if (at.text() == which) w = weight::zeros<float>(3, 5);
        },
        p);
    try {
      const full m(c, p);
    } catch (const error& e) {
      return e.message();
    }
    return std::string();
  };
  CHECK(refused("q_proj.weight") == "kv_attention: tensor q_proj.weight has shape [3, 5], expected [32, 6]");
  CHECK(refused("k_proj.weight") == "kv_attention: tensor k_proj.weight has shape [3, 5], expected [16, 6]");
  CHECK(refused("v_proj.weight") == "kv_attention: tensor v_proj.weight has shape [3, 5], expected [16, 6]");
  CHECK(refused("o_proj.weight") == "kv_attention: tensor o_proj.weight has shape [3, 5], expected [6, 32]");
  CHECK(refused("") == "");
}

TEST_CASE("a seed gives its weights in the storage type that was asked for") {
  const kv_attention_config c{.d_model = 64, .heads = 2, .storage = dtype::q8_0};
  const full a(c, 3), b(c, 3), other(c, 4);
  CHECK(a.weights().q_proj == b.weights().q_proj);
  CHECK_FALSE(a.weights().q_proj == other.weights().q_proj);
  CHECK_FALSE(a.weights().k_proj == a.weights().v_proj);
  CHECK(a.weights().o_proj.type() == dtype::q8_0);
  const full odd({.d_model = 6, .heads = 3, .storage = dtype::q8_0});  // rows of 6 fill no block
  CHECK(odd.weights().q_proj.type() == dtype::f32);
  for (const auto& sample : full::samples()) CHECK(full::check(sample));
}

TEST_CASE("states that a bounded cache refuses") {
  const h2o m({.d_model = 8, .heads = 4, .kv_heads = 2, .head_dim = 4, .capacity = 5}, 1);
  const auto good = after(m, 12);
  CHECK(m.valid(good));
  CHECK(m.valid(after(m, 3)));
  CHECK(m.valid(m.init()));
  CHECK_FALSE(m.valid(h2o::state()));
  const auto refused = [&](auto&& spoil) {
    auto s = good;
    spoil(s);
    return !m.valid(s);
  };
  CHECK(refused([](auto& s) { s.size = 6; }));
  CHECK(refused([](auto& s) { s.size = -1; }));
  CHECK(refused([](auto& s) { s.size = 3; }));  // 12 tokens leave five
  CHECK(refused([](auto& s) { s.newest = 3; }));
  CHECK(refused([](auto& s) { s.newest = -2; }));
  CHECK(refused([](auto& s) { s.newest = std::numeric_limits<index_t>::max(); }));  // the next overflows
  CHECK(refused([](auto& s) { s.positions[0] = 12; }));
  CHECK(refused([](auto& s) { s.positions[7] = -1; }));
  CHECK(refused([](auto& s) { s.positions.resize(11); }));
  CHECK(refused([](auto& s) { s.meta.resize(0); }));
  CHECK(refused([](auto& s) { s.store.keys.resize(s.store.keys.size() - 1); }));
  CHECK(refused([](auto& s) { s.store.values.resize(s.store.values.size() + 16); }));
}

TEST_CASE("states that a cache of segments refuses") {
  const kv_attention<float, evict::snapkv> m({.d_model = 8,
                                              .heads = 4,
                                              .kv_heads = 2,
                                              .head_dim = 4,
                                              .capacity = 5,
                                              .when = evict::trigger::segment},
                                             1);
  auto good = after(m, 12);
  CHECK(m.capacity() == 0);
  CHECK(m.segment_capacity() == 5);
  CHECK(good.size == 12);
  const auto refused = [&](auto&& spoil) {
    auto s = good;
    spoil(s);
    return !m.valid(s);
  };
  for (bool cut : {false, true}) {
    CHECK(m.valid(good));
    CHECK(refused([](auto& s) { s.size = 4; }));
    CHECK(refused([](auto& s) { s.size = 13; }));
    CHECK(refused([](auto& s) { s.newest = s.size - 2; }));
    CHECK(refused([](auto& s) { s.positions.resize(s.positions.size() - 1); }));
    CHECK(refused([](auto& s) { s.positions[0] = 12; }));
    CHECK(refused([](auto& s) { s.queries.resize(0); }));
    CHECK(refused([](auto& s) { s.workspace.resize(1); }));
    for (int bits : {38, 60})
      CHECK(refused([=](auto& s) { s.size = index_t{1} << bits, s.newest = s.size; }));
    context ctx;
    if (!cut) m.end_segment(ctx, good);
    CHECK(good.size == 5);
  }
}

TEST_CASE("states that the full cache refuses") {
  const full m({.d_model = 8, .heads = 4, .kv_heads = 2, .head_dim = 4}, 1);
  const auto good = after(m, 12);
  CHECK(m.valid(good));
  CHECK(m.valid(m.init()));
  CHECK(m.valid(full::state()));
  const auto refused = [&](auto&& spoil) {
    auto s = good;
    spoil(s);
    return !m.valid(s);
  };
  CHECK(refused([](auto& s) { s.size = 11; }));
  CHECK(refused([](auto& s) { s.newest = 12; }));
  CHECK(refused([](auto& s) { s.size = 11, s.newest = 10; }));
  CHECK(refused([](auto& s) { s.size = 13, s.newest = 12; }));
  for (int bits : {38, 60})  // must not be allocated, nor overflow
    CHECK(refused([=](auto& s) { s.size = index_t{1} << bits, s.newest = s.size - 1; }));
  CHECK(refused([](auto& s) { s.positions.resize(1); }));
  CHECK(refused([](auto& s) { s.meta.resize(1); }));
  CHECK(refused([](auto& s) { s.store.keys.resize(s.store.keys.size() - 1); }));
  CHECK(refused([](auto& s) { s.store.values.resize(0); }));
}
