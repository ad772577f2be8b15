// SPDX-License-Identifier: Apache-2.0
// Every policy against the simulation: kept positions, slots and outputs, token by token.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>

#include "catch.hpp"
#include "unit/evict/compare.hpp"

using namespace mneme;
using mneme_test::compare;
using mneme_test::matrix;
using mneme_test::rule;
using mneme_test::shapes;
using mneme_test::sharpened;

namespace {

template <class P>
constexpr rule rule_of = std::is_same_v<P, evict::window>  ? rule::window
                         : std::is_same_v<P, evict::sinks> ? rule::sinks
                         : std::is_same_v<P, evict::h2o>   ? rule::h2o
                         : std::is_same_v<P, evict::tova>  ? rule::tova
                                                           : rule::full;

struct without_score {
  static constexpr const char* name = "without score";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr evict::scope where = evict::scope::layer;
};

}  // namespace

TEMPLATE_TEST_CASE("policies keep what they say", "", evict::window, evict::sinks, evict::h2o, evict::tova) {
  for (kv_attention_config c : shapes)
    for (index_t C : {1, 2, 3, 5, 8, 16}) {
      CAPTURE(TestType::name, c.heads, c.kv_heads, C);
      c.capacity = C;
      compare(sharpened<kv_attention<double, TestType>>(c, 3), rule_of<TestType>, 80);
    }
}

TEMPLATE_TEST_CASE("policies keep what they say with the reference kernels", "", evict::h2o, evict::tova) {
  auto c = shapes[2];
  c.capacity = 16;
  using cached = kv_attention<double, TestType, store::contiguous<store::f32>, reference>;
  compare(sharpened<cached>(c, 3), rule_of<TestType>, 60);
}

TEMPLATE_TEST_CASE("policies keep what they say in float32", "", evict::window, evict::sinks, evict::h2o,
                   evict::tova) {
  auto c = shapes[2];
  c.capacity = 16;
  compare(sharpened<kv_attention<float, TestType>>(c, 5), rule_of<TestType>, 60);
}

TEMPLATE_TEST_CASE("lists choose on their own or all together", "", evict::h2o, evict::tova) {
  auto c = shapes[2];
  c.capacity = 16;
  const auto m = sharpened<kv_attention<float, TestType>>(c, 5);
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, mneme_test::random_rows<float>(60, m.d_in(), 0, 17));
  CHECK((m.live(s, 0) == m.live(s, 1)) == (TestType::where == evict::scope::layer));
}

TEST_CASE("the full cache keeps everything") {
  for (kv_attention_config c : shapes) {
    c.capacity = 3;  // ignored
    const auto m = sharpened<kv_attention<double>>(c, 3);
    CHECK(m.capacity() == 0);
    compare(m, rule::full, 100);
  }
}

TEMPLATE_TEST_CASE("a capacity that is never exceeded changes nothing", "", evict::window, evict::sinks,
                   evict::h2o, evict::tova) {
  for (kv_attention_config c : shapes) {
    c.capacity = 70;
    const kv_attention<float, evict::full> full(c, 4);
    const kv_attention<float, TestType> bounded(c, full.weights());
    const auto X = mneme_test::random_rows<float>(70, c.d_model, 0, 2);
    matrix<float> a(70, c.d_model), b = a;
    context ctx;
    auto s = full.init();
    auto t = bounded.init();
    full.scan(ctx, s, X, a.view());
    bounded.scan(ctx, t, X, b.view());
    CHECK(a == b);
    for (index_t l = 0; l < full.lists(); ++l) CHECK(full.live(s, l) == bounded.live(t, l));
  }
}

TEMPLATE_TEST_CASE("among equal scores the oldest leaves", "", evict::window, evict::h2o, evict::tova) {
  // Equal tokens without positions get equal attention; what they received adds up with their age.
  const kv_attention<float, TestType> m({.d_model = 6, .heads = 3, .capacity = 5, .rope_base = 0}, 2);
  const std::vector<float> x(6, 0.5f);
  std::vector<float> y(6);
  context ctx;
  auto s = m.init();
  for (int t = 0; t < 40; ++t) m.step(ctx, s, x, y);
  auto live = m.live(s, 0);
  std::sort(live.begin(), live.end());
  if (std::is_same_v<TestType, evict::h2o>)
    CHECK(live == std::vector<index_t>{0, 1, 2, 38, 39});  // the oldest received most; two are protected
  else
    CHECK(live == std::vector<index_t>{35, 36, 37, 38, 39});
}

TEST_CASE("scores of single entries") {
  using evict::keep_always;
  const auto at = [](index_t position, double meta = 0) { return evict::entry<double>{position, meta}; };
  const evict::moment now{99, 8};
  CHECK(evict::window::score(at(3), now) == evict::window::score(at(99), now));
  for (index_t p : {0, 3}) CHECK(evict::sinks::score(at(p), now) == keep_always<double>);
  CHECK(evict::sinks::score(at(4), now) == 0);
  CHECK(evict::sinks::score(at(1), {99, 3}) == keep_always<double>);
  CHECK(evict::sinks::score(at(2), {99, 3}) == 0);  // room for one newest entry
  CHECK(evict::sinks::score(at(0), {99, 1}) == 0);
  CHECK(evict::h2o::score(at(95, 2), now) == 2);
  CHECK(evict::h2o::score(at(96, 2), now) == keep_always<double>);
  CHECK(evict::h2o::score(at(99, 2), {99, 1}) == 2);
  CHECK(evict::h2o::updated(1.5, 0.25) == 1.75);
  CHECK(evict::tova::updated(0.75, 0.25) == 0.25);
  CHECK(evict::tova::score(at(99, 0.25), now) == 0.25);
}

TEST_CASE("what is a policy") {
  static_assert(evict::Policy<evict::full>);
  static_assert(evict::Policy<evict::window>);
  static_assert(evict::Policy<evict::sinks>);
  static_assert(evict::Policy<evict::h2o>);
  static_assert(evict::Policy<evict::tova>);
  static_assert(!evict::Policy<without_score>);
  SUCCEED();
}
