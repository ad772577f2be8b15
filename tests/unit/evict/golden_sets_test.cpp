// SPDX-License-Identifier: Apache-2.0
// Keep sets and outputs of the published streams, token by token.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "catch.hpp"
#include "unit/evict/published.hpp"

using namespace mneme;
using mneme_test::numbers;
using mneme_test::selection;
using mneme_test::published::d, mneme_test::published::tokens;

namespace {

// The kept positions as bits; the output for the last token in `last`.
template <class M>
std::uint64_t kept(index_t capacity, std::vector<scalar_t<M>>* last = nullptr) {
  using T = scalar_t<M>;
  const kv_attention_params select{selection(d, 3 * d, 0), selection(d, 3 * d, d), selection(d, 3 * d, 2 * d),
                                   selection(3 * d, d, 0)};
  const M m({.d_model = 3 * d, .heads = 1, .head_dim = d, .capacity = capacity, .rope_base = 0}, select);
  auto X = mneme_test::published_stream<T>();
  std::vector<T> y(3 * d);
  context ctx;
  auto s = m.init();
  scan(m, ctx, s, mat_view<const T>(X.data(), tokens, 3 * d), mat_view<T>(y.data(), 1, 3 * d));
  if (last) *last = y;
  std::uint64_t bits = 0;
  for (index_t p : m.live(s, 0)) bits |= std::uint64_t{1} << p;
  return bits;
}

using layout = store::contiguous<store::f32>;

}  // namespace

TEST_CASE("the published numbers") {
  const auto k = numbers(1);
  CHECK(std::abs(k[0] + 0.527089f) < 1e-6f);
  CHECK(std::abs(k[1] + 0.261459f) < 1e-6f);
  CHECK(std::abs(k[2] - 0.008484f) < 1e-6f);
}

TEMPLATE_TEST_CASE("dense attention of the last token", "", (kv_attention<float>), (kv_attention<double>),
                   (kv_attention<double, evict::full, layout, reference>),
                   (kv_attention<float, evict::h2o>)) {
  std::vector<scalar_t<TestType>> y;
  CHECK(kept<TestType>(64, &y) == ~std::uint64_t{0});
  const double expected[] = {-0.110427, 0.178839, 0.196328, -0.042476};
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(static_cast<double>(y[i]) - expected[i]) < 1e-6);
}

TEMPLATE_TEST_CASE("h2o token by token", "", (kv_attention<float, evict::h2o>),
                   (kv_attention<double, evict::h2o>), (kv_attention<float, evict::h2o, layout, reference>)) {
  CHECK(kept<TestType>(16) == 0xff0000000000087full);
}

TEMPLATE_TEST_CASE("tova token by token", "", (kv_attention<float, evict::tova>),
                   (kv_attention<double, evict::tova>),
                   (kv_attention<float, evict::tova, layout, reference>)) {
  CHECK(kept<TestType>(16) == 0xf641b40040224000ull);
}

TEST_CASE("window and sinks keep positions") {
  CHECK(kept<kv_attention<float, evict::window>>(16) == 0xffff000000000000ull);
  CHECK(kept<kv_attention<float, evict::window>>(1) == 0x8000000000000000ull);
  CHECK(kept<kv_attention<float, evict::sinks>>(16) == 0xfff000000000000full);
  CHECK(kept<kv_attention<float, evict::sinks>>(4) == 0x8000000000000007ull);
  CHECK(kept<kv_attention<float, evict::sinks>>(1) == 0x8000000000000000ull);
}
