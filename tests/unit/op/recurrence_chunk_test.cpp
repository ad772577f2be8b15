// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/recurrence_chunk.hpp>

#include "catch.hpp"
#include "recurrence_laws.hpp"

using namespace recurrence_test;

namespace {

template <rule R, class T, class Backend = native>
constexpr recurrence_kernel<T> chunks = &kernel<recurrence_chunk<R>, Backend>::template run<T>;

// Chunk forms are kernels of the rule: their oracle is its step form. The random operands set some decays to
// exactly 0 and 1.
template <class T>
void equal_the_steps(rule r, recurrence_kernel<T> kernel, recurrence_kernel<double> steps, double bound) {
  for (const auto& [tokens, K, V, outs] : {std::array<index_t, 4>{1, 1, 1, 1},
                                           {31, 5, 3, 31},
                                           {31, 5, 3, 15},
                                           {33, 9, 67, 33},
                                           {33, 9, 67, 16},
                                           {70, 4, 131, 70},
                                           {70, 4, 131, 35},
                                           {40, 3, 5, 0}}) {
    CAPTURE(name_of(r), tokens, K, V, outs, sizeof(T));
    const auto given = random_operands<T>(tokens, K, V, 17, ugly);
    const auto oracle = given.widened();
    const auto expected = result_of<double>(oracle.with(r, steps), {oracle.S}, tokens, outs);
    CHECK(mneme_test::backend_fault(given.with(r, kernel, {.gap = 5}), {given.S}, tokens, outs, expected,
                                    within(bound)) == "");
  }
}

// Budgets of the specification: K-C1 and K-C2 2e-5, K-C3 5e-5, 5e-4 with beta up to 2 or DPLR.
double chunk_budget(rule r) { return r.write == update::add ? 2e-5 : 5e-4; }

template <rule... R>
void examine_rules() {
  (equal_the_steps<float>(R, chunks<R, float>, reference_of<recurrence<R>, double>, chunk_budget(R)), ...);
}
}  // namespace

// With the rule below every decay with every update, and both with both reads; under AddressSanitizer every
// operand.
TEST_CASE("chunks equal steps under every decay and update") {
  using enum decay;
  examine_rules<rule{scalar, update::add}, rule{value, update::delta, reads::before}>();
#if !defined(__SANITIZE_ADDRESS__)
  examine_rules<
      rule{none, update::add, reads::before}, rule{key, update::add, reads::before}, rule{value, update::add},
      rule{none, update::delta}, rule{scalar, update::delta, reads::before}, rule{key, update::delta},
      rule{none, update::dplr, reads::before}, rule{scalar, update::dplr}, rule{value, update::dplr}>();
#endif
}

TEST_CASE("chunks equal steps on every architecture", "[L16][recurrence_chunk]") {
  static constexpr rule r = rules::rwkv7;  // has all that chunk forms may have
  const auto steps = reference_of<recurrence<r>, double>;
  for (const auto& [arch, run] :
       on_archs<test_archs>([]<class Arch>() { return chunks<r, float, cpu<Arch>>; })) {
    CAPTURE(arch);
    equal_the_steps<float>(r, run, steps, chunk_budget(r));
  }
  equal_the_steps<double>(r, chunks<r, double>, steps, 1e-11);
}
