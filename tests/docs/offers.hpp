// SPDX-License-Identifier: Apache-2.0
// What memories offer, as the compiler sees it. One line per header, its parts separated by tabs, for
// index.py:
//   memory  <header>  <offer>, (<offer>), ...     in parentheses: under some of its template arguments
//   policy  <header>  <what it looks at>
//   layout  <header>  <policy>, ...               under which it can stand
#pragma once
#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/cross.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/core/compose/windowed.hpp>
#include <mneme/evict/policy.hpp>
#include <mneme/memory/kv_attention.hpp>

#include <cstdio>
#include <string>

namespace mneme_docs {

using namespace mneme;

inline void append(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

template <class... Ms>
void memory(const char* header) {
  std::string offers;
  const auto add = [&](const char* name, bool all, bool some) {
    if (some) append(offers, all ? name : "(" + std::string(name) + ")");
  };
  add("scan", (Scannable<Ms> && ...), (Scannable<Ms> || ...));
  add("scan_many", (Batched<Ms> && ...), (Batched<Ms> || ...));
  add("read", (Readable<Ms> && ...), (Readable<Ms> || ...));
  add("reserve", (Growing<Ms> && ...), (Growing<Ms> || ...));
  add("end_segment", (Segmented<Ms> && ...), (Segmented<Ms> || ...));
  add("tell", (Taught<Ms> && ...), (Taught<Ms> || ...));
  add("init(prefix)", (Prefixed<Ms> && ...), (Prefixed<Ms> || ...));
  add("rewind", (Rewindable<Ms> && ...), (Rewindable<Ms> || ...));
  add("live", (Evicting<Ms> && ...), (Evicting<Ms> || ...));
  add("vjp", (Differentiable<Ms> && ...), (Differentiable<Ms> || ...));
  add("row-stable", (row_stable<Ms> && ...), (row_stable<Ms> || ...));
  std::printf("memory\t%s\t%s\n", header, offers.c_str());
}

// The least and the most that a part of a composition can offer.
struct plain {
  using scalar = float;
  using state = nothing;
  index_t d_in() const { return 1; }
  index_t d_out() const { return 1; }
  state init(place = {}) const { return {}; }
  void step(context&, state&, row_view<const float>, row_view<float>) const noexcept {}
};
struct able : plain {
  static constexpr bool row_stable = true;
  void scan(context&, state&, mat_view<const float>, mat_view<float>) const {}
  void scan_many(context&, std::span<const lane<state>>, mat_view<const float>, mat_view<float>) const {}
  void read(context&, const state&, row_view<const float>, row_view<float>) const {}
  bool reserve(state&, index_t) const { return true; }
  void end_segment(context&, state&) const {}
};

inline void combinators() {
  memory<chain_of<plain, plain>, chain_of<able, able>>("core/compose/chain.hpp");
  memory<cross_of<able>>("core/compose/cross.hpp");
  memory<parallel_of<join::sum, plain, plain>, parallel_of<join::sum, able, able>>(
      "core/compose/parallel.hpp");
  memory<residual_of<plain>, residual_of<able>>("core/compose/residual.hpp");
  memory<rewindable_of<plain>, rewindable_of<able>>("core/compose/rewindable.hpp");
  memory<routed_of<plain, plain>, routed_of<able, able>>("core/compose/routed.hpp");
  memory<stack_of<plain>, stack_of<able>>("core/compose/stack.hpp");
  memory<windowed_of<recall::leaving, plain, plain>, windowed_of<recall::newest, able, able>>(
      "core/compose/windowed.hpp");
}

template <class P>
void policy(const char* header) {
  std::string looks;
  if constexpr (P::reads_attention) append(looks, "attention");
  if constexpr (evict::queries_of<P>() != evict::queries::none) append(looks, "queries");
  if constexpr (evict::ScoresLists<P>) append(looks, "all keys and values");
  if (evict::StartsFromEntry<P> && looks.empty()) looks = "the key and value of an entry";
  if (P::bounded && looks.empty()) looks = "positions";
  std::printf("policy\t%s\t%s\t%s\n", header,
              !P::bounded                      ? ""
              : P::where == evict::scope::list ? "head"
                                               : "layer",
              looks.c_str());
}

template <class Store, class... Policies>
void layout(const char* header) {
  std::string under;
  ((store::Under<Store, Policies> ? append(under, Policies::name) : void()), ...);
  std::printf("layout\t%s\t%s\n", header, under.c_str());
}

}  // namespace mneme_docs
