// SPDX-License-Identifier: Apache-2.0
// A law that never failed is not a test: every planted fault must be found by the law named for it, every law
// must find one that no other law finds, and the healthy memories and ops must pass them all. L12, L16 and
// L20 are laws of ops, the others ask memories. L17 is these laws on compositions.
#include "../catch.hpp"
#include "../laws/laws.hpp"
#include "wrong_company.hpp"
#include "wrong_compositions.hpp"
#include "wrong_ops.hpp"
#include "wrong_segments.hpp"
#include "wrong_states.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>

namespace mneme_test {
namespace {

using namespace mutants;

struct mutant {
  std::string law;  // that must find it; empty: none may
  std::variant<any_subject, any_op> subject;
  std::optional<any_subject> neighbour = {};  // in compositions; nothing: another like itself

  std::string name() const {
    if (const auto* op = std::get_if<any_op>(&subject)) return op->name;
    return std::visit([](const auto& s) { return s.name; }, std::get<any_subject>(subject));
  }
};

// L17 of a mutant: the first fault of what the combinators make of it.
std::string l17_compose(const mutant& m) {
  const auto& s = std::get<any_subject>(m.subject);
  using of_rows = subject<float, float>;
  for (const any_subject& made :
       compositions_of(std::get<of_rows>(s), std::get<of_rows>(m.neighbour ? *m.neighbour : s)))
    for (const law& l : all_laws)
      if (asks_compositions(l))
        if (const findings f = l.examine(made); !f.violations.empty())
          return std::string(l.name) + ": " + f.violations.front().what;
  return {};
}

// One law of the table: what it says of a mutant, nothing if it finds no fault.
struct column {
  std::string name;
  bool of_ops;
  std::function<std::string(const mutant&)> fault;
  bool of_sound_parts = false;  // asked of what no other law objects to: a faulty part makes faulty wholes

  bool asks(const mutant& m) const { return of_ops == std::holds_alternative<any_op>(m.subject); }
  int number() const { return std::stoi(name.substr(1)); }
};
std::vector<column> all_columns() {
  std::vector<column> all;
  for (const law& l : all_laws)
    all.push_back({l.name, false, [&l](const mutant& m) {
                     const findings f = l.examine(std::get<any_subject>(m.subject));
                     return f.violations.empty() ? std::string() : f.violations.front().what;
                   }});
  all.push_back({"L17 compose", false, l17_compose, true});
  const auto of_ops = [&](const char* name, std::string (*fault)(const any_op&)) {
    all.push_back({name, true, [fault](const mutant& m) { return fault(std::get<any_op>(m.subject)); }});
  };
  of_ops("L12 monoid", l12_monoid);
  of_ops("L16 backend", l16_backend);
  of_ops("L20 reductions", l20_reductions);
  std::ranges::sort(all, {}, &column::number);
  return all;
}

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

template <class M>
mutant beside_another(const char* name, const char* law) {
  const auto one = [name](float gain) {
    return make_subject(name, M(gain), amplified<double>(static_cast<double>(gain)));
  };
  return {law, one(2), one(3)};
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
      beside_another<amplified<float>>("healthy: amplified", ""),
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
      beside_another<one_table_for_all>("one table for all", "L17 compose"),
      planted<swaps_lanes>("swaps lanes", "L18 batch"),
      planted<first_outs>("first outs", "L18 batch"),
      planted<packed_lanes>("packed lanes", "L18 batch"),
      planted<mixes_lanes>("mixes lanes", "L18 batch"),
      planted<crosses_lanes>("crosses lanes", "L18 batch"),
      planted<depends_on_rows>("depends on rows", "L21 row-stable"),
      planted<depends_on_lanes>("depends on lanes", "L21 row-stable"),
      {"", op_mutant("healthy: recurrence, partials")},
      {"L12 monoid", op_mutant<right, drops_decay>("merge drops the decay")},
      {"L12 monoid", op_mutant<right, other_order>("merge in the other order")},
      {"L12 monoid", op_mutant("merge of unscaled partials", unscaled_merge)},
      {"L12 monoid", op_mutant("empty partial resets", empty_resets)},
      {"L16 backend", op_mutant<wrong_tail>("wrong ragged tail")},
      {"L16 backend", op_mutant<restless>("other bits every time")},
      {"L20 reductions", wrong_rule<never_keeps>("gate of one lets fade")},
      {"L20 reductions", wrong_rule<never_forgets>("gate of zero remembers")},
      {"L20 reductions", wrong_rule<always_erases>("gate of zero erases")},
  };
}

// One line of the table: a name, and of every law what `cell` says.
template <class F>
void print_row(const std::string& name, const std::vector<column>& laws, F cell) {
  std::printf("%-30s", name.c_str());
  for (const column& l : laws) std::printf("%4s", std::string(cell(l)).c_str());
  std::printf("\n");
}

TEST_CASE("every mutant is caught, every law catches one alone", "[mutants]") {
  const std::vector<column> laws = all_columns();
  const std::vector<mutant> all = all_mutants();
  std::vector<std::map<std::string, bool>>
      objects;  // of every mutant: the laws asked and whether they object
  std::map<std::string, int> catches, alone;
  for (const mutant& m : all) {
    std::map<std::string, bool> asked;
    std::set<std::string> caught;
    std::string first;
    for (const bool of_sound_parts : {false, true})
      for (const column& l : laws) {
        if (l.of_sound_parts != of_sound_parts || !l.asks(m) || (of_sound_parts && !caught.empty())) continue;
        const std::string found = l.fault(m);
        asked[l.name] = !found.empty();
        if (found.empty()) continue;
        caught.insert(l.name);
        ++catches[l.name];
        if (first.empty()) first = found;
      }
    INFO(m.name() << ": " << (first.empty() ? "no law objects" : first));
    if (m.law.empty())
      CHECK(caught.empty());
    else
      CHECK(caught.contains(m.law));
    if (caught.size() == 1) ++alone[*caught.begin()];
    objects.push_back(std::move(asked));
  }
  for (const column& l : laws) {
    INFO(l.name << " has caught no mutant that passes all other laws");
    CHECK(alone[l.name] > 0);
  }

  print_row("", laws, [](const column& l) { return "L" + std::to_string(l.number()); });
  for (std::size_t i = 0; i < all.size(); ++i)
    print_row(all[i].name(), laws, [&](const column& l) {
      const auto asked = objects[i].find(l.name);
      return asked == objects[i].end() ? "" : asked->second ? "x" : ".";
    });
  print_row("caught", laws, [&](const column& l) { return std::to_string(catches[l.name]); });
  print_row("caught by no other law", laws, [&](const column& l) { return std::to_string(alone[l.name]); });
}

}  // namespace
}  // namespace mneme_test
