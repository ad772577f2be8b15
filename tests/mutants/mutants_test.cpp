// SPDX-License-Identifier: Apache-2.0
// A law that never failed is not a test: every planted fault must be found by the law named for it, every law
// must find one that no other law finds, and the healthy memories must pass them all. Not here: L12 and L16,
// laws of ops, which unit/op checks; L17, which is these laws on compositions; L20, single identities in
// unit/.
#include "../catch.hpp"
#include "../laws/laws.hpp"
#include "wrong_company.hpp"
#include "wrong_compositions.hpp"
#include "wrong_segments.hpp"
#include "wrong_states.hpp"

#include <cstdio>
#include <map>
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
      planted<diary>("healthy: diary", ""),
      planted<undoable>("healthy: rewindable", ""),
      planted<both_sums>("healthy: parallel", ""),
      planted<side_by_side>("healthy: parallel, joined", ""),
      planted<mixture>("healthy: routed", ""),
      planted<window_and_more>("healthy: windowed", ""),
      planted<answers>("healthy: cross", ""),
      planted<lost_start>("lost start", "L1 split"),
      planted<stale_window>("stale window", "L1 split"),
      planted<first_rows>("first rows", "L1 split"),
      planted<skips_first_rows<base>>("residual of the first rows", "L1 split"),
      planted<drops_inner_rows<base>>("chain of the last rows", "L1 split"),
      planted<evicts_at_call_end>("evicts at call end", "L1 split"),
      planted<loses_the_window>("loses the window", "L1 split"),
      planted<queries_of_the_call>("queries of the call", "L1 split"),
      planted<uncounted_step>("uncounted step", "L2 step"),
      planted<touches_the_rest>("touches the rest", "L2 step"),
      planted<folds_twice>("folds twice", "L2 step"),
      planted<counts_in_a_byte>("counts in a byte", "L2 step"),
      planted<counts_calls>("counts calls", "L3 start"),
      planted<counts_lone_lanes>("counts lone lanes", "L3 start"),
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
      planted<learns_from_queries>("learns from queries", "L6 pure"),
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
      planted<writes_padding_of_few>("writes padding of few", "L10 poison"),
      planted<assumes_packed>("assumes packed", "L11 shapes"),
      planted<assumes_alignment>("assumes alignment", "L11 shapes"),
      planted<aligned_stores>("aligned stores", "L11 shapes"),
      planted<drops_block_tail>("drops block tail", "L11 shapes"),
      planted<packs_columns>("packs columns", "L11 shapes"),
      planted<loses_a_row>("loses a row", "L13 rewind"),
      planted<leaves_a_trace>("leaves a trace", "L13 rewind"),
      planted<moves_and_refuses>("moves and refuses", "L13 rewind"),
      planted<promises_more>("promises more", "L13 rewind"),
      planted<tells_again>("tells again", "L13 rewind"),
      planted<tells_twice>("tells twice", "L14 evict"),
      planted<drops_silently>("drops silently", "L14 evict"),
      planted<overshoots>("overshoots", "L14 evict"),
      planted<evicts_early>("evicts early", "L14 evict"),
      planted<names_the_dead>("names the dead", "L14 evict"),
      planted<empties_itself>("empties itself", "L14 evict"),
      planted<cuts_too_little>("cuts too little", "L14 evict"),
      planted<cuts_in_silence>("cuts in silence", "L14 evict"),
      planted<cuts_in_disorder>("cuts in disorder", "L14 evict"),
      planted<cuts_between>("cuts between boundaries", "L14 evict"),
      planted<cuts_again>("cuts again", "L14 evict"),
      planted<allocates>("allocates", "L15 quiet"),
      planted<growing_scratch>("growing scratch", "L15 quiet"),
      planted<reallocates>("reallocates", "L15 quiet"),
      planted<breaks_promise>("breaks promise", "L15 quiet"),
      planted<swaps_lanes>("swaps lanes", "L18 batch"),
      planted<first_outs>("first outs", "L18 batch"),
      planted<packed_lanes>("packed lanes", "L18 batch"),
      planted<mixes_lanes>("mixes lanes", "L18 batch"),
      planted<crosses_lanes>("crosses lanes", "L18 batch"),
      planted<depends_on_rows>("depends on rows", "L21 row-stable"),
      planted<depends_on_lanes>("depends on lanes", "L21 row-stable"),
  };
}

// One line of the table: a name, and of every law what `cell` says.
template <class F>
void print_row(const std::string& name, F cell) {
  std::printf("%-28s", name.c_str());
  for (const law& l : all_laws) std::printf("%4s", std::string(cell(l)).c_str());
  std::printf("\n");
}
std::string number_of(const law& l) { return std::string(l.name).substr(0, std::string(l.name).find(' ')); }

TEST_CASE("every mutant is caught, every law catches one alone", "[mutants]") {
  struct row {
    std::string name;
    std::set<std::string> caught;
  };
  std::vector<row> table;
  std::map<std::string, int> catches, alone;
  for (const mutant& m : all_mutants()) {
    row r{std::visit([](const auto& s) { return s.name; }, m.subject), {}};
    std::string first;
    for (const law& l : all_laws) {
      const findings f = l.examine(m.subject);
      if (f.violations.empty()) continue;
      r.caught.insert(l.name);
      ++catches[l.name];
      if (first.empty()) first = f.violations.front().what;
    }
    INFO(r.name << ": " << (first.empty() ? "no law objects" : first));
    if (m.law.empty())
      CHECK(r.caught.empty());
    else
      CHECK(r.caught.contains(m.law));
    if (r.caught.size() == 1) ++alone[*r.caught.begin()];
    table.push_back(std::move(r));
  }
  for (const law& l : all_laws) {
    INFO(l.name << " has caught no mutant that passes all other laws");
    CHECK(alone[l.name] > 0);
  }

  print_row("", number_of);
  for (const row& r : table)
    print_row(r.name, [&](const law& l) { return r.caught.contains(l.name) ? "x" : "."; });
  print_row("caught", [&](const law& l) { return std::to_string(catches[l.name]); });
  print_row("caught by no other law", [&](const law& l) { return std::to_string(alone[l.name]); });
}

}  // namespace
}  // namespace mneme_test
