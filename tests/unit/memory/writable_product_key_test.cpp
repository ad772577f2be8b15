// SPDX-License-Identifier: Apache-2.0
#include <mneme/memory/product_key.hpp>
#include <mneme/memory/writable_product_key.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "lookup_case.hpp"
#include "outputs.hpp"

using namespace mneme;
using namespace lookup_test;
using mneme_test::matrix;
using mneme_test::outputs;
using memory = writable_product_key<double>;

static_assert(Growing<memory> && Readable<memory> && Validated<memory> && Batched<memory> &&
              row_stable<memory>);

namespace {

// Gates saturated: every write is whole.
memory wide_open(writable_product_key_config c, std::uint64_t seed) {
  memory m(c, seed);
  m.weights().gate_proj = constant_weight({1, c.d_model}, 0);
  m.weights().gate_proj_bias = constant_weight({1}, 100);
  return m;
}
vec recalled(const memory& m, const state_t<memory>& s, row_view<const double> q) {
  context ctx;
  vec y(static_cast<std::size_t>(m.d_out()));
  m.read(ctx, s, q, row_view<double>(y));
  return y;
}
state_t<memory> fed(const memory& m, mat_view<const double> X) {
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, X);
  return s;
}

}  // namespace

TEST_CASE("writable_product_key is what it says, with all of Delta held") {
  const writable_product_key_config c{.d_model = 5,
                                      .d_value = 7,
                                      .heads = 3,
                                      .sub_keys = 4,
                                      .top_k = 3,
                                      .query_bias = true,
                                      .norm = product_key_norm::none,
                                      .learning_rate = 0.75};
  const memory m(c, 2);
  const auto& p = m.weights();
  const auto X = mneme_test::random_rows<double>(40, 5, 0, 3);
  vec table = table_of(p.values), last_k, last_r;
  double last_gate = 0;
  matrix<double> expected(40, 7);
  for (index_t t = 0; t < 40; ++t) {
    const vec x = row_of<double>(X.view()[t]), target = affine(p.value_proj, {}, x);
    double squares = 0;
    for (const double k : last_k) squares += k * k;
    for (std::size_t row = 0; row < last_k.size(); ++row)
      for (std::size_t d = 0; d < 7; ++d)
        table[row * 7 + d] += 0.75 * last_gate * last_k[row] * (target[d] - last_r[d]) / squares;
    last_k = softmax_address(p.keys, c.top_k, affine(p.query_proj, p.query_proj_bias, x));
    last_r = read_table(table, 7, last_k);
    last_gate = sigmoid(affine(p.gate_proj, p.gate_proj_bias, x)[0]);
    std::copy(last_r.begin(), last_r.end(), expected.view()[t].begin());
  }
  CHECK(mneme_test::golden_error<double>(outputs(m, X.view()), expected) < 1e-11);
  const auto s = fed(m, X);
  CHECK(m.valid(s));
  CHECK(s.written.count() > 3);
}

TEST_CASE("writable_product_key: a learning rate of 0 is the static memory, to the bit", "[L20]") {
  const writable_product_key_config c{
      .d_model = 8, .d_value = 33, .heads = 2, .sub_keys = 6, .top_k = 4, .learning_rate = 0};
  const writable_product_key<float> m(c, 5);
  const auto& p = m.weights();
  const product_key<float> fixed({.d_model = 8, .d_value = 33, .heads = 2, .sub_keys = 6, .top_k = 4},
                                 {p.query_proj, p.query_proj_bias, p.norm, p.norm_bias, p.keys, p.values});
  const auto X = mneme_test::random_rows<float>(19, 8, 0, 6);
  CHECK(mneme_test::bit_difference<float>(outputs(m, X.view()), outputs(fixed, X.view())) == "");
  context ctx;
  auto s = m.init();
  observe(m, ctx, s, X.view());
  CHECK(s.written.count() == 0);
}

TEST_CASE("writable_product_key: a whole write is recalled, and touches selected rows only") {
  const memory m = wide_open({.d_model = 9, .d_value = 5, .heads = 2, .sub_keys = 23, .top_k = 4}, 7);
  const auto X = mneme_test::random_rows<double>(2, 9, 0, 8);
  const auto s = fed(m, X);
  const vec target = affine(m.weights().value_proj, {}, row_of<double>(X.view()[1]));
  const vec y = recalled(m, s, X.view()[0]);
  for (std::size_t d = 0; d < y.size(); ++d) CHECK(y[d] == Approx(target[d]).margin(1e-12));
  CHECK(s.written.count() <= 8);

  // Queries that share no row with the write read what they read before.
  const auto start = m.init();
  int same = 0;
  const auto others = mneme_test::random_rows<double>(50, 9, 0, 9);
  for (index_t t = 0; t < 50; ++t) {
    const auto ids = fed(m, others.view().range(t, t + 1)).last_ids;
    const bool apart =
        std::none_of(ids.begin(), ids.end(), [&](index_t id) { return s.written.find(id, 5); });
    same += apart;
    CHECK((recalled(m, s, others.view()[t]) == recalled(m, start, others.view()[t])) == apart);
  }
  CHECK(same > 10);
  CHECK(same < 50);
}

TEST_CASE("writable_product_key: a state never holds more rows than the table") {
  const memory m = wide_open({.d_model = 3, .sub_keys = 3, .top_k = 2}, 1);
  auto s = fed(m, mneme_test::random_rows<double>(500, 3, 0, 2));
  CHECK(s.written.count() <= 9);
  CHECK(m.reserve(s, std::numeric_limits<index_t>::max()));
  CHECK(footprint(s).reserved < 2000);
}

TEST_CASE("writable_product_key: states whose parts do not belong together are seen") {
  const memory m = wide_open({.d_model = 4, .sub_keys = 5, .top_k = 3}, 1);
  const auto good = fed(m, mneme_test::random_rows<double>(6, 4, 0, 2));
  REQUIRE(m.valid(good));
  REQUIRE(good.written.count() > 2);
  const auto bad = [&](auto&& damage) {
    auto s = good;
    damage(s);
    CHECK_FALSE(m.valid(s));
  };
  bad([](auto& s) { s.last_ids[0] = 25; });
  bad([](auto& s) { s.last_read.resize(3); });
  bad([](auto& s) { s.written.rows[1] = 25; });
  bad([](auto& s) { s.written.rows[1] = s.written.rows[0]; });
  bad([](auto& s) { s.written.delta.resize(s.written.delta.size() - 1); });
  bad([](auto& s) { s.written.index.resize(2 * s.written.index.size()); });
  bad([](auto& s) { std::fill(s.written.index.begin(), s.written.index.end(), 1); });
  bad([](auto& s) { *std::find(s.written.index.begin(), s.written.index.end(), 1) = 1000; });
}

TEST_CASE("writable_product_key refuses impossible rates") {
  CHECK_THROWS_WITH(memory({.d_model = 4, .learning_rate = 1.5}),
                    "writable_product_key: learning_rate is 1.500000, expected 0 to 1");
}
