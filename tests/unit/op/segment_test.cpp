// SPDX-License-Identifier: Apache-2.0
// L12 for the write side of the recurrence family.
#include <mneme/op/segment.hpp>

#include "recurrence_case.hpp"

using namespace recurrence_test;

namespace {

template <rule R>
void forms_a_monoid() {
  CAPTURE(static_cast<int>(R.forget), static_cast<int>(R.write), static_cast<int>(R.read));
  constexpr index_t K = 5, V = 7, tokens = 12;
  const auto given = random_operands<double>(tokens, K, V, 23);
  const auto stretch = [&](index_t from, index_t to) {
    return segment<R, double>::of(given.template rows<R>(from, to, 0));
  };
  matrix<double> stepped = given.S;
  given.template run<R, reference>(stepped, 0, tokens, 0);
  const auto applied = [&](const segment<R, double>& s) {
    matrix<double> S = given.S;
    s.apply(S.view());
    return relative_error(S, stepped);
  };
  const segment<R, double> none(K, V), a = stretch(0, 3), b = stretch(3, 4), c = stretch(4, tokens);
  CHECK(applied(stretch(0, tokens)) <= 1e-12);
  CHECK(applied(merge(merge(a, b), c)) <= 1e-12);
  CHECK(applied(merge(a, merge(b, c))) <= 1e-12);
  CHECK(merge(none, c) == c);
  CHECK(merge(c, none) == c);
  if (R.forget != decay::none || R.write != update::add)
    CHECK(applied(merge(stretch(3, tokens), stretch(0, 3))) > 1e-3);  // order matters
}

}  // namespace

TEST_CASE("segments of every rule form a monoid that acts as the tokens do") {
  for_each_rule([]<rule R>() {
    if constexpr (!(R.forget == decay::value && R.write == update::dplr)) forms_a_monoid<R>();
  });
}

TEST_CASE("a segment whose decay is zero forgets what came before") {
  auto given = random_operands<double>(4, 3, 2, 5);
  given.keys.view()[2][0] = given.keys.view()[2][1] = given.keys.view()[2][2] = 0;
  const auto s = segment<rules::gla, double>::of(given.rows<rules::gla>(0, 4, 0));
  matrix<double> one = given.S, other(3, 2, {}, 7.0);
  s.apply(one.view());
  s.apply(other.view());
  CHECK(one == other);
}
