// SPDX-License-Identifier: Apache-2.0
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "catch.hpp"
#include "golden.hpp"
#include "laws/executors.hpp"
#include "laws/matrix.hpp"
#include "unit/evict/simulation.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::random_rows;

namespace {

// rows x cols, row r selects column first + r.
weight selection(index_t rows, index_t cols, index_t first) {
  weight w = weight::zeros<float>(rows, cols);
  for (index_t r = 0; r < std::min(rows, cols); ++r) edit<float>(w)[r * cols + first + r] = 1;
  return w;
}

// The largest error relative to the largest output, for the first tokens whose positions are their indices.
template <class T>
double worst(const golden& file, const std::string& name) {
  const auto shape = file.shape(name, "q"), keys = file.shape(name, "k");
  const index_t heads = shape[1], kv_heads = keys[1], d = shape[2];
  const index_t offset = std::stoi(file.flag(name, "q_offset"));
  const std::string pairs = file.flag(name, "rope");
  const index_t tokens = pairs == "none" ? keys[0] : 5, q_width = heads * d, kv_width = kv_heads * d;
  const index_t width = q_width + 2 * kv_width;
  const kv_attention<T> m({.d_model = width,
                           .heads = heads,
                           .kv_heads = kv_heads,
                           .head_dim = d,
                           .rope_base = pairs == "none" ? 0 : file.value(name, "base"),
                           .pairs = pairs == "half" ? rope_pairs::half_split : rope_pairs::interleaved},
                          {selection(q_width, width, 0), selection(kv_width, width, q_width),
                           selection(kv_width, width, q_width + kv_width), selection(width, q_width, 0)});
  const auto q = file.values(name, "q"), k = file.values(name, "k"), v = file.values(name, "v"),
             o = file.values(name, "o");
  matrix<T> X(tokens, width), Y(tokens - offset, width);
  for (index_t t = 0; t < tokens; ++t) {
    const auto x = X.view()[t];
    std::fill_n(x.begin(), q_width, T(0));  // keys before the offset have no query
    if (t >= offset) std::copy_n(q.begin() + (t - offset) * q_width, q_width, x.begin());
    std::copy_n(k.begin() + t * kv_width, kv_width, x.begin() + q_width);
    std::copy_n(v.begin() + t * kv_width, kv_width, x.begin() + q_width + kv_width);
  }
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, X, Y.view());
  double error = 0, largest = 0;
  for (index_t t = 0; t < Y.rows(); ++t)
    for (index_t c = 0; c < q_width; ++c) {
      const double expected = o[static_cast<std::size_t>(t * q_width + c)];
      error = std::max(error, std::abs(static_cast<double>(Y.view()[t][c]) - expected));
      largest = std::max(largest, std::abs(expected));
    }
  return error / largest;
}

// 40 tokens, a fork, and 40 more tokens on both.
template <class M>
void check_fork(const M& m) {
  const auto X = random_rows<float>(80, m.d_in(), 0, 3);
  matrix<float> straight(80, m.d_out()), forked(40, m.d_out()), other(40, m.d_out());
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, X.view().first(40), straight.view().first(40));
  auto fork = s;
  CHECK(fork == s);
  auto abandoned = s;
  scan(m, ctx, abandoned, X.view().first(40), other.view());
  scan(m, ctx, s, X.view().last(40), straight.view().last(40));
  scan(m, ctx, fork, X.view().last(40), forked.view());
  CHECK(fork == s);
  CHECK_FALSE(abandoned == s);
  for (index_t t = 0; t < 40; ++t)
    CHECK(mneme_test::same_bits(forked.view()[t].data(), straight.view()[40 + t].data(), m.d_out()));
  CHECK(m.valid(s));
}

}  // namespace

TEST_CASE("kv_attention with selecting projections gives the golden values") {
  const golden file("attention");
  int cases = 0;
  for (const std::string& name : file.cases()) {
    if (name.find("partial") != std::string::npos) continue;
    CAPTURE(name);
    ++cases;
    const bool turned = name.find("rope") == 0;  // then keys are rounded to float32 when they are stored
    CHECK(worst<double>(file, name) < (turned ? 1e-7 : 1e-12));
    CHECK(worst<float>(file, name) < (name == "sharp" ? 1e-5 : 2e-6));
  }
  CHECK(cases == 11);
}

TEST_CASE("a fork of a cache continues identically") {
  const kv_attention_config c{.d_model = 12, .heads = 6, .kv_heads = 2, .head_dim = 4, .capacity = 9};
  check_fork(kv_attention<float>(c, 1));
  check_fork(kv_attention<float, evict::window>(c, 1));
  check_fork(kv_attention<float, evict::sinks>(c, 1));
  check_fork(kv_attention<float, evict::h2o>(c, 1));
  check_fork(kv_attention<float, evict::tova>(c, 1));
}

TEMPLATE_TEST_CASE("read attends as the next token would and changes nothing", "", evict::full, evict::h2o) {
  const kv_attention_config c{.d_model = 10, .heads = 4, .kv_heads = 2, .head_dim = 6, .capacity = 5};
  const auto m = mneme_test::sharpened<kv_attention<double, TestType>>(c, 8);
  mneme_test::simulation expected(TestType::bounded ? mneme_test::rule::h2o : mneme_test::rule::full, m);
  const auto X = random_rows<double>(31, 10, 0, 4);
  std::vector<double> y(10);
  context ctx;
  auto s = m.init();
  m.read(ctx, s, X.view()[0], y);
  CHECK(y == std::vector<double>(10));  // nothing to recall
  for (index_t t = 0; t < 30; ++t) {
    m.step(ctx, s, X.view()[t], y);
    expected.step({X.view()[t].begin(), X.view()[t].end()});
    const auto before = s;
    const auto query = X.view()[t + 1];
    read(m, ctx, std::as_const(s), query, row_view<double>(y));
    CHECK(s == before);
    const auto right = expected.attend({query.begin(), query.end()});
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::abs(y[i] - right[i]) < 1e-6);
  }
}

TEST_CASE("a reserved cache takes that many tokens without moving") {
  const kv_attention<float> m({.d_model = 8, .heads = 2}, 1);
  static_assert(Growing<kv_attention<float>>);
  context ctx;
  auto s = m.init();
  const auto X = random_rows<float>(50, 8, 0, 1);
  matrix<float> Y(50, 8);
  scan(m, ctx, s, X, Y.view());
  CHECK(reserve(m, s, 50));
  const auto *keys = s.store.keys.data(), *values = s.store.values.data();
  scan(m, ctx, s, X, Y.view());
  CHECK(s.store.keys.data() == keys);
  CHECK(s.store.values.data() == values);
  CHECK(s.size == 100);
  auto unreserved = m.init();
  scan(m, ctx, unreserved, X, Y.view());
  scan(m, ctx, unreserved, X, Y.view());
  CHECK(unreserved == s);
}

TEST_CASE("a bounded cache never grows") {
  const kv_attention<float, evict::h2o> m({.d_model = 8, .heads = 2, .capacity = 6}, 1);
  auto s = m.init();
  const auto held = footprint(s);
  const auto X = random_rows<float>(70, 8, 0, 1);
  matrix<float> Y(70, 8);
  context ctx;
  scan(m, ctx, s, X, Y.view());
  CHECK(footprint(s) == held);
  CHECK(s.size == 6);
  CHECK(s.newest == 69);
  CHECK(m.live(s, 1).size() == 6);
}

TEST_CASE("threads change no bit of attention that a policy reads") {
  const kv_attention_config c{.d_model = 8, .heads = 8, .kv_heads = 4, .head_dim = 64, .capacity = 320};
  const kv_attention<float, evict::tova> m(c, 1);
  CHECK_FALSE(mneme_test::threads_change_bits(m, 330, 330));
}
