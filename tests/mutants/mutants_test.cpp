// SPDX-License-Identifier: Apache-2.0
// A law that never failed is not a test: every planted fault must be found by the law named for it, every law
// must find one, and the healthy memories must pass them all.
#include "../catch.hpp"
#include "../laws/laws.hpp"
#include "wrong_company.hpp"
#include "wrong_states.hpp"

#include <cstdio>
#include <set>

namespace mneme_test {
namespace {

using namespace mutants;

struct mutant {
  std::string law;  // that must find it; empty: none may
  any_subject subject;
};

template <class M>
mutant planted(const char* name, const char* law, M m = {}) {
  if constexpr (std::derived_from<M, cache>)
    return {law, make_subject(name, m, newest<double>())};
  else if constexpr (std::derived_from<M, archive<float>>)
    return {law, make_subject(name, m, archive<double>())};
  else if constexpr (requires { M::width; })
    return {law, make_subject(name, m, leaky<double>())};
  else
    return {law, make_subject(name, m)};  // a composition
}

std::vector<mutant> all_mutants() {
  return {
      planted<base>("healthy: leaky", ""),
      planted<cache>("healthy: newest", ""),
      planted<archive<float>>("healthy: archive", ""),
      planted<lost_start>("lost start", "L1 split"),
      planted<stale_window>("stale window", "L1 split"),
      planted<first_rows>("first rows", "L1 split"),
      planted<skips_first_rows<base>>("residual of the first rows", "L1 split"),
      planted<drops_inner_rows<base>>("chain of the last rows", "L1 split"),
      planted<evicts_at_call_end>("evicts at call end", "L1 split"),
      planted<uncounted_step>("uncounted step", "L2 step"),
      planted<counts_calls>("counts calls", "L3 start"),
      planted<sees_future>("sees future", "L4 causal"),
      planted<masks_by_product>("masks by product", "L4 causal"),
      planted<scaled_by_chunk>("scaled by chunk", "L4 causal"),
      planted<compares_part>("compares part", "L5 fork"),
      planted<compares_values>("compares values", "L5 fork"),
      planted<aliasing>("aliasing", "L5 fork"),
      planted<sticky_move>("sticky move", "L5 fork"),
      planted<counts_globally>("counts globally", "L6 pure"),
      planted<shares_scratch>("shares scratch", "L6 pure"),
      planted<writes_input>("writes input", "L6 pure"),
      planted<writing_read>("writing read", "L6 pure"),
      planted<order_of_workers>("order of workers", "L6 pure"),
      planted<wrong_column_tail>("wrong column tail", "L7 reference"),
      planted<low_precision>("low precision", "L7 reference"),
      planted<forgets_field>("forgets field", "L8 persist"),
      planted<garbage_slot>("garbage slot", "L8 persist"),
      planted<one_name>("one name", "L8 persist"),
      planted<hides_bytes>("hides bytes", "L9 footprint"),
      planted<other_heap>("other heap", "L9 footprint"),
      planted<grows>("grows", "L9 footprint"),
      planted<adds_to_output>("adds to output", "L10 poison"),
      planted<reads_scratch>("reads scratch", "L10 poison"),
      planted<dirty_init>("dirty init", "L10 poison"),
      planted<writes_padding>("writes padding", "L10 poison"),
      planted<assumes_packed>("assumes packed", "L11 shapes"),
      planted<assumes_alignment>("assumes alignment", "L11 shapes"),
      planted<drops_block_tail>("drops block tail", "L11 shapes"),
      planted<tells_twice>("tells twice", "L14 evict"),
      planted<drops_silently>("drops silently", "L14 evict"),
      planted<overshoots>("overshoots", "L14 evict"),
      planted<evicts_early>("evicts early", "L14 evict"),
      planted<names_the_dead>("names the dead", "L14 evict"),
      planted<empties_itself>("empties itself", "L14 evict"),
      planted<allocates>("allocates", "L15 quiet"),
      planted<growing_scratch>("growing scratch", "L15 quiet"),
      planted<reallocates>("reallocates", "L15 quiet"),
      planted<breaks_promise>("breaks promise", "L15 quiet"),
      planted<swaps_lanes>("swaps lanes", "L18 batch"),
      planted<first_outs>("first outs", "L18 batch"),
      planted<packed_lanes>("packed lanes", "L18 batch"),
      planted<mixes_lanes>("mixes lanes", "L18 batch"),
      planted<depends_on_rows>("depends on rows", "L21 row-stable"),
      planted<depends_on_lanes>("depends on lanes", "L21 row-stable"),
  };
}

TEST_CASE("every mutant is caught, every law catches one", "[mutants]") {
  std::set<std::string> useful;
  for (const mutant& m : all_mutants()) {
    const std::string name = std::visit([](const auto& s) { return s.name; }, m.subject);
    std::set<std::string> caught;
    std::string list, first;
    for (const law& l : all_laws) {
      const findings f = l.examine(m.subject);
      if (f.violations.empty()) continue;
      caught.insert(l.name);
      list += std::string(list.empty() ? "" : ", ") + l.name;
      if (first.empty()) first = f.violations.front().what;
    }
    std::printf("%-28s %s\n", name.c_str(), list.empty() ? "-" : list.c_str());
    INFO(name << ": " << (first.empty() ? "no law objects" : first));
    if (m.law.empty())
      CHECK(caught.empty());
    else
      CHECK(caught.contains(m.law));
    useful.insert(caught.begin(), caught.end());
  }
  for (const law& l : all_laws) {
    INFO(l.name << " has caught nothing");
    CHECK(useful.contains(l.name));
  }
}

}  // namespace
}  // namespace mneme_test
