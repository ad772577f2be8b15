// SPDX-License-Identifier: Apache-2.0
// What a lossy store keeps, and what the eviction observer hears.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/store/codec/q8_0.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"
#include "unit/evict/simulation.hpp"

#include <set>

using namespace mneme;
using mneme_test::random_rows;
using mneme_test::simulation;

namespace {

// A row as codec D gives it back.
template <dtype D>
void rounded(mneme_test::row& x) {
  const index_t n = kv_rows<D>::padded(static_cast<index_t>(x.size()));
  mneme_test::row padded = x, out(static_cast<std::size_t>(n));
  padded.resize(static_cast<std::size_t>(n));
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(D, n)));
  encode_row(D, padded.data(), n, bytes.data());
  decode_row<D, simd::scalar>(bytes.data(), n, out.data());
  std::copy_n(out.begin(), x.size(), x.begin());
}

struct told {
  std::string reason;
  index_t list, position;
  std::vector<float> key, value;
};
struct listener {
  std::vector<told> all;
  eviction_observer observer{&hear, this};

 private:
  static void hear(void* self, const eviction& e) {
    static_cast<listener*>(self)->all.push_back(
        {e.reason, e.list, e.position, {e.key.begin(), e.key.end()}, {e.value.begin(), e.value.end()}});
  }
};

bool near(const std::vector<float>& got, const mneme_test::row& expected) {
  if (got.size() != expected.size()) return false;
  for (std::size_t i = 0; i < got.size(); ++i)
    if (std::abs(static_cast<double>(got[i]) - expected[i]) > 1e-6) return false;
  return true;
}

// 60 tokens with the simulation beside: compares outputs, live positions and all that the observer heard.
template <class Policy, class Codec>
void compare(mneme_test::rule policy) {
  using M = kv_attention<double, Policy, store::contiguous<Codec>>;
  for (index_t C : {1, 4, 9})
    for (index_t head_dim : {6, 40}) {
      CAPTURE(Policy::name, Codec::name, C, head_dim);
      const M m = mneme_test::sharpened<M>(
          {.d_model = 9, .heads = 4, .kv_heads = 2, .head_dim = head_dim, .capacity = C}, 6);
      simulation expected(policy, m);
      expected.round_stored = rounded<Codec::type>;
      const auto X = random_rows<double>(60, 9, 0, 21);
      std::vector<double> y(9);
      listener heard;
      context ctx;
      ctx.on_eviction = &heard.observer;
      prepare(m, ctx, 20);
      REQUIRE(heard.all.empty());
      auto s = m.init();
      for (index_t t = 0; t < 60; ++t) {
        m.step(ctx, s, X.view()[t], y);
        const auto right = expected.step({X.view()[t].begin(), X.view()[t].end()});
        for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(std::abs(y[i] - right[i]) < 1e-10);
      }
      REQUIRE(heard.all.size() == expected.departed.size());
      std::set<std::pair<index_t, index_t>> seen;
      for (std::size_t i = 0; i < heard.all.size(); ++i) {
        const auto& e = heard.all[i];
        const auto& [list, entry] = expected.departed[i];
        CHECK(e.reason == Policy::name);
        REQUIRE(e.list == list);
        REQUIRE(e.position == entry.position);
        CHECK(near(e.key, entry.key));
        CHECK(near(e.value, entry.value));
        seen.insert({e.list, e.position});
      }
      for (index_t l = 0; l < 2; ++l)
        for (index_t p : m.live(s, l)) seen.insert({l, p});
      CHECK(seen.size() == 2 * 60);  // live or told, each once
      CHECK(heard.all.size() == static_cast<std::size_t>(2 * (60 - C)));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("every dropped entry is told once with its key and value", "", store::f32, store::q8_0) {
  compare<evict::window, TestType>(mneme_test::rule::window);
  compare<evict::sinks, TestType>(mneme_test::rule::sinks);
  compare<evict::h2o, TestType>(mneme_test::rule::h2o);
  compare<evict::tova, TestType>(mneme_test::rule::tova);
}

TEST_CASE("a full q8_0 cache attends its own rounded rows") {
  using M = kv_attention<double, evict::full, store::contiguous<store::q8_0>>;
  const M m({.d_model = 7, .heads = 3, .head_dim = 34}, 2);
  simulation rounding(mneme_test::rule::full, m), exact(mneme_test::rule::full, m);
  rounding.round_stored = rounded<dtype::q8_0>;
  const auto X = random_rows<double>(100, 7, 0, 5);
  mneme_test::matrix<double> Y(100, 7);
  listener heard;
  context ctx;
  ctx.on_eviction = &heard.observer;
  auto s = m.init();
  scan(m, ctx, s, X, Y.view());  // in prefill too
  double far = 0;
  for (index_t t = 0; t < 100; ++t) {
    const mneme_test::row x(X.view()[t].begin(), X.view()[t].end());
    const auto right = rounding.step(x), other = exact.step(x);
    for (std::size_t i = 0; i < 7; ++i) {
      const double y = Y.view()[t][static_cast<index_t>(i)];
      REQUIRE(std::abs(y - right[i]) < 1e-10);
      far = std::max(far, std::abs(y - other[i]));
    }
  }
  CHECK(far > 1e-5);
  CHECK(far < 0.02);
  CHECK(heard.all.empty());
}

TEST_CASE("an observer changes nothing") {
  using M = kv_attention<float, evict::h2o, store::contiguous<store::q8_0>>;
  const M m({.d_model = 9, .heads = 4, .kv_heads = 2, .head_dim = 10, .capacity = 5}, 6);
  const auto X = random_rows<float>(40, 9, 0, 2);
  mneme_test::matrix<float> silent(40, 9), heard_too = silent;
  listener heard;
  context quiet, loud;
  loud.on_eviction = &heard.observer;
  auto a = m.init(), b = a;
  scan(m, quiet, a, X, silent.view());
  scan(m, loud, b, X, heard_too.view());
  CHECK(a == b);
  CHECK(silent == heard_too);
  CHECK(heard.all.size() == 70);
}
