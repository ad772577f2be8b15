// SPDX-License-Identifier: Apache-2.0
// What policies keep of a layer of SmolLM2-135M equals what kvpress keeps, list by list.
#include <mneme/evict/expected_attention.hpp>
#include <mneme/evict/keydiff.hpp>
#include <mneme/evict/knorm.hpp>
#include <mneme/evict/lagkv.hpp>
#include <mneme/evict/snapkv.hpp>
#include <mneme/memory/detail/kv_cache.hpp>
#include <mneme/store/codec/f32.hpp>

#include "catch.hpp"
#include "golden.hpp"

using namespace mneme;
using mneme_test::golden;

namespace {

const golden& file() {
  static const golden of("kept_sets");
  return of;
}

// The 96 tokens of the layer through a cache that is cut to 40 entries at the end.
template <class T, class P>
struct cut_layer {
  using cache = kv_cache<T, P, store::contiguous<store::f32>>;
  std::vector<index_t> q_shape = file().shape("layer", "q"), k_shape = file().shape("layer", "k");
  index_t tokens = q_shape[0], heads = q_shape[1], lists = k_shape[1], d = k_shape[2];
  rope turns{d, file().value("layer", "base"), rope_pairs::half_split};
  cache all;
  typename cache::state s;

  explicit cut_layer(evict::merge merging = evict::merge::none)
      : all({lists, d, d}, {40, heads, d, evict::trigger::segment, merging}), s(all.init({})) {
    const auto Q = file().values("layer", "q"), K = file().values("layer", "k"),
               V = file().values("layer", "v");
    context ctx;
    for (index_t t = 0; t < tokens; ++t) {
      auto k = row(K, t), v = row(V, t), q = row(Q, t);
      turn(t, k);
      all.append(s, k.data(), v.data());
      all.template observe<evict::queries::plain>(s, q);
      turn(t, q);
      all.template observe<evict::queries::turned>(s, q);
      all.remember(s, {});
      all.settle(ctx, s, turns);
    }
    CHECK(s.size == tokens);
    all.end_segment(ctx, s, turns);
  }
  std::vector<T> row(const std::vector<double>& X, index_t t) const {
    const index_t n = static_cast<index_t>(X.size()) / tokens;
    return std::vector<T>(X.begin() + t * n, X.begin() + (t + 1) * n);
  }
  void turn(index_t t, std::vector<T>& x) const {
    for (index_t at = 0; at < static_cast<index_t>(x.size()); at += d) turns.turn(t, x.data() + at);
  }
};

template <class T, class P>
void keeps(const char* name) {
  CAPTURE(name, sizeof(T));
  const cut_layer<T, P> layer;
  const auto kept = file().values(name, "kept");
  REQUIRE(layer.s.size == 40);
  for (index_t list = 0; list < layer.lists; ++list)
    CHECK(layer.all.live(layer.s, list) ==
          std::vector<index_t>(kept.begin() + list * 40, kept.begin() + (list + 1) * 40));
}
template <class P>
void keeps(const char* name) {
  keeps<float, P>(name);
  keeps<double, P>(name);
}

}  // namespace

TEST_CASE("policies keep what kvpress keeps") {
  keeps<evict::knorm>("knorm");
  keeps<evict::keydiff>("keydiff");
  keeps<evict::snapkv_of<8, 5>>("snapkv_8_5");
  keeps<evict::snapkv_of<16, 7>>("snapkv_16_7");
  keeps<evict::expected_attention_for<512>>("expected_attention_512");
  keeps<evict::expected_attention_for<16>>("expected_attention_16");
  keeps<evict::lagkv_by<8>>("lagkv_8");
  keeps<evict::lagkv_by<16>>("lagkv_16");
}

TEST_CASE("values are merged as kvpress merges them") {
  const cut_layer<double, evict::knorm> layer(evict::merge::nearest), plain;
  const auto kept = file().values("merging_knorm", "kept"), values = file().values("merging_knorm", "values");
  double worst = 0, moved = 0;
  for (index_t list = 0; list < layer.lists; ++list) {
    CHECK(layer.all.live(layer.s, list) ==
          std::vector<index_t>(kept.begin() + list * 40, kept.begin() + (list + 1) * 40));
    const auto rows = layer.s.store.rows(layer.all.shape(), list, 40),
               others = plain.s.store.rows(plain.all.shape(), list, 40);
    std::vector<double> x(static_cast<std::size_t>(layer.d)), y = x;
    for (index_t i = 0; i < 40; ++i) {
      rows.value_row<simd::scalar>(i, x.data());
      others.value_row<simd::scalar>(i, y.data());
      for (index_t c = 0; c < layer.d; ++c) {
        const auto at = static_cast<std::size_t>((list * 40 + i) * layer.d + c);
        worst = std::max(worst, std::abs(x[static_cast<std::size_t>(c)] - values[at]));
        moved = std::max(moved, std::abs(y[static_cast<std::size_t>(c)] - values[at]));
      }
    }
  }
  CHECK(worst < 1e-6);  // stored as float32; kvpress adds up in float32
  CHECK(moved > 0.1);
}
