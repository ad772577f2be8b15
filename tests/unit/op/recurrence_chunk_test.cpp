// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/recurrence_chunk.hpp>

#include "arch_list.hpp"
#include "laws/compare.hpp"
#include "recurrence_case.hpp"

using namespace recurrence_test;

namespace {

template <rule R, class T, class Backend>
void equals_the_steps(index_t tokens, index_t K, index_t V, index_t outs, double bound) {
  CAPTURE(static_cast<int>(R.forget), static_cast<int>(R.write), static_cast<int>(R.read), tokens, K, V,
          outs);
  const auto given = random_operands<T>(tokens, K, V, 17, {.gap = 3, .shift = 1});
  const operands<double> oracle = given.widened();
  matrix<T> state = given.S, O(outs, V, {.gap = 5});
  matrix<double> expected_state = oracle.S;
  const auto expected = oracle.template run<R, reference>(expected_state, 0, tokens, outs);
  context ctx;
  kernel<recurrence_chunk<R>, Backend>::template run<T>(ctx, state.view(),
                                                        given.template rows<R>(0, tokens, outs), O.view());
  CHECK(relative_error(O, expected) <= bound);
  CHECK(relative_error(state, expected_state) <= bound);
  CHECK(O.surrounding_untouched());
  CHECK(state.surrounding_untouched());
}

// Budgets of the specification: K-C1 and K-C2 2e-5, K-C3 5e-5, 5e-4 with beta up to 2 or DPLR.
constexpr double budget(rule r) { return r.write == update::add ? 2e-5 : 5e-4; }

}  // namespace

// random_operands sets some decays to exactly 0 and 1.
TEST_CASE("chunks equal steps under every decay and update") {
  const auto examine = []<rule R>() {
    for (const auto& [tokens, K, V] :
         {std::array<index_t, 3>{1, 1, 1}, {31, 5, 3}, {33, 9, 67}, {70, 4, 131}}) {
      equals_the_steps<R, float, native>(tokens, K, V, tokens, budget(R));
      equals_the_steps<R, float, native>(tokens, K, V, tokens / 2, budget(R));
    }
    equals_the_steps<R, float, native>(40, 3, 5, 0, budget(R));
  };
  using enum decay;
  examine.operator()<rule{none, update::add, reads::before}>();
  examine.operator()<rule{scalar, update::add}>();
  examine.operator()<rule{key, update::add, reads::before}>();
  examine.operator()<rule{value, update::add}>();
  examine.operator()<rule{none, update::delta}>();
  examine.operator()<rule{scalar, update::delta, reads::before}>();
  examine.operator()<rule{key, update::delta}>();
  examine.operator()<rule{value, update::delta, reads::before}>();
  examine.operator()<rule{none, update::dplr, reads::before}>();
  examine.operator()<rule{scalar, update::dplr}>();
  examine.operator()<rule{key, update::dplr, reads::before}>();
  examine.operator()<rule{value, update::dplr}>();
}

TEMPLATE_LIST_TEST_CASE("chunks equal steps on every architecture", "", mneme_test::test_archs) {
  const auto examine = []<rule R>() { equals_the_steps<R, double, cpu<TestType>>(45, 7, 37, 45, 1e-11); };
  examine.template operator()<rules::gla>();
  examine.template operator()<rules::rwkv7>();
  examine.template operator()<rule{decay::value, update::delta}>();
}
