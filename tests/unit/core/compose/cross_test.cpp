// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/cross.hpp>
#include <mneme/layer/linear.hpp>

#include "../sample_memories.hpp"
#include "catch.hpp"
#include "error_text.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

// Recalls what it holds, weighted by the query.
struct weighted : leaky<float> {
  linear<float> projection{{.d_in = 6, .d_out = 6}, 1};
  weighted() : leaky<float>{6} {}
  void read(context& ctx, const state& s, row_view<const float> q, row_view<float> y) const {
    nothing none;
    projection.step(ctx, none, q, y);
    for (index_t i = 0; i < d; ++i) y[i] *= s.h[i];
  }
  const linear_params& weights() const { return projection.weights(); }
  linear_params& weights() { return projection.weights(); }
};

}  // namespace

TEST_CASE("cross answers what its memory would recall, whatever was asked before") {
  const weighted cache;
  const table<float> document(5, 6, 2), X(7, 6, 3);
  context ctx;
  auto past = cache.init();
  observe(cache, ctx, past, document);
  const auto m = cross(cache, past);
  static_assert(row_stable<decltype(m)> && std::same_as<state_t<decltype(m)>, nothing>);
  static_assert(!Growing<decltype(m)> && !Segmented<decltype(m)>);
  CHECK(m.d_in() == 6);
  CHECK(m.d_out() == 6);
  table<float> expected(7, 6);
  for (index_t t = 0; t < 7; ++t) cache.read(ctx, past, X.view()[t], expected.view()[t]);
  CHECK(stepped(m, X) == expected);
  CHECK(m.past() == past);
  for (index_t wanted : {0, 2, 7}) {
    auto s = m.init();
    table<float> Y(wanted, 6, 9);
    scan(m, ctx, s, X, Y);
    CHECK(Y.is_end_of(expected));
  }
  CHECK(stepped(any_memory<float>(m), X) == expected);

  const auto copy = m;  // shares the past
  CHECK(&copy.past() == &m.past());
  CHECK(&copy.weights() == &copy.inner().weights());
  auto of_another = cross(cache, cache.init());
  CHECK_FALSE(stepped(of_another, X) == expected);
  CHECK(leaf_paths(of_another.weights()) == std::vector<std::string>{"weight", "bias"});
}

TEST_CASE("cross takes what can be read, and a past of it") {
  using any = any_memory<float>;
  const any deaf = leaky<float>{2}, heard = journal<float>{2};
  CHECK(error_text([&] { cross(deaf, deaf.init()); }) == "cross: the memory is not readable");
  CHECK(error_text([&] { cross(heard, heard.init()); }) == "no error");
  auto broken = journal<float>{2}.init();
  broken.segment = 5;
  CHECK(error_text([&] { cross(journal<float>{2}, broken); }) == "cross: the past is no state of the memory");
}
