// SPDX-License-Identifier: Apache-2.0
// One test case per law, over every sample of every memory; L17 runs all of them on compositions.
#include "laws.hpp"
#include "../catch.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace mneme_test {
namespace {

constexpr std::size_t most_told = 8;  // violations of one law: what breaks one memory often breaks all

// Runs a law on all of `on`; prints what it did.
void holds(const law& l, const std::vector<any_subject>& on, const char* prefix = "") {
  const auto start = std::chrono::steady_clock::now();
  std::size_t checks = 0, examined = 0, told = 0, broken = 0;
  for (const any_subject& s : on) {
    const findings f = l.examine(s);
    checks += f.checks;
    examined += f.checks > 0;
    broken += !f.violations.empty();
    for (const violation& v : f.violations)
      if (++told <= most_told) FAIL_CHECK(prefix << l.name << ": " << v.what);
  }
  if (told > most_told)
    FAIL_CHECK(prefix << l.name << ": " << told - most_told << " more violations, of " << broken
                      << " subjects in all");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%s%-15s %4zu subjects %8zu checks %7.2f s (seed %llu)\n", prefix, l.name, examined, checks,
              took.count(), static_cast<unsigned long long>(law_seed));
  std::fflush(stdout);
  if (!std::getenv("MNEME_LAWS_OF")) CHECK(checks > 0);
}
void holds(findings (*examine)(const any_subject&)) {
  for (const law& l : all_laws)
    if (l.examine == examine) holds(l, subjects());
}

TEST_CASE("L1 split: chunks of any size give the answer of the whole", "[laws]") { holds(l01_split); }
TEST_CASE("L2 step: a scan is that many steps", "[laws]") { holds(l02_step); }
TEST_CASE("L3 start: no rows change nothing, any state is a start", "[laws]") { holds(l03_start); }
TEST_CASE("L4 causal: the future changes nothing, NaN or not", "[laws]") { holds(l04_causal); }
TEST_CASE("L5 fork: copies are independent values", "[laws]") { holds(l05_fork); }
TEST_CASE("L6 pure: the same input gives the same bits", "[laws]") { holds(l06_pure); }
TEST_CASE("L7 reference: near the double-precision reference", "[laws]") { holds(l07_reference); }
TEST_CASE("L8 persist: a loaded state is the saved one", "[laws]") { holds(l08_persist); }
TEST_CASE("L9 footprint: all bytes are told, bounded stays bounded", "[laws]") { holds(l09_footprint); }
TEST_CASE("L10 poison: scratch, padding and outputs may hold anything", "[laws]") { holds(l10_poison); }
TEST_CASE("L11 shapes: any length, alignment and stride", "[laws]") { holds(l11_shapes); }
TEST_CASE("L13 rewind: back to a mark, or refused and untouched", "[laws]") {
  std::vector<any_subject> all = subjects();
  all.insert(all.end(), composed().begin(), composed().end());
  for (const law& l : all_laws)
    if (l.examine == l13_rewind) holds(l, all);
}
TEST_CASE("L14 evict: within capacity, every drop told once", "[laws]") { holds(l14_evict); }
TEST_CASE("L15 quiet: no allocation in steps", "[laws]") { holds(l15_quiet); }
TEST_CASE("L18 batch: lanes equal streams alone", "[laws]") { holds(l18_batch); }
TEST_CASE("L21 row-stable: bits do not depend on company", "[laws]") { holds(l21_row_stable); }

TEST_CASE("L17 compose: the laws hold for compositions", "[laws]") {
  for (const law& l : all_laws)
    if (asks_compositions(l)) holds(l, composed(), "L17 ");
}

}  // namespace
}  // namespace mneme_test
