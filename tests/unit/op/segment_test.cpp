// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "recurrence_laws.hpp"

using namespace recurrence_test;

TEST_CASE("segments of every rule form a monoid that acts as the tokens do", "[L12][segment][recurrence]") {
  family all;
  for_each_rule([&]<rule R>() {
    if constexpr (!(R.forget == decay::value && R.write == update::dplr) && R.read == reads::after)
      all.push_back({.is = R, .reference = reference_of<recurrence<R>, double>, .segments = segments_of<R>});
  });
  CHECK(all.size() == 11);
  CHECK(monoid_fault(all) == "");
}

TEST_CASE("the order of segments matters") {
  const auto given = random_operands<double>(9, 5, 7, 23);
  const stretches s = segments_of<rules::gla>(given);
  const auto a = s.of(0, 4), b = s.of(4, 9);
  CHECK(relative_error(s.applied(s.merged(b, a)), s.applied(s.merged(a, b))) > 1e-3);
}

TEST_CASE("a segment whose decay is zero forgets what came before") {
  auto given = random_operands<double>(4, 3, 2, 5);
  for (double& x : given.keys.view()[2]) x = 0;
  const auto s = segment<rules::gla, double>::of(given.rows(rules::gla, 0, 4, 0));
  matrix<double> one = given.S, other(3, 2, {}, 7.0);
  s.apply(one.view());
  s.apply(other.view());
  CHECK(one == other);
}
