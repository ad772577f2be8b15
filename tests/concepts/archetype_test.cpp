// SPDX-License-Identifier: Apache-2.0
// The smallest type that is a Memory works with everything that takes a Memory, and offers nothing else.
#include "../catch.hpp"

#include <mneme/core/any_memory.hpp>
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/cross.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/core/compose/windowed.hpp>

namespace {

using mneme::context;
using mneme::index_t;
using mneme::row_view;

// y = x + the sum of all earlier x; one number wide.
struct archetype {
  using scalar = float;
  struct state {
    float sum = 0;
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&& f, auto&... s) { f("sum", s.sum...); }
  };
  index_t d_in() const { return 1; }
  index_t d_out() const { return 1; }
  state init(mneme::place = {}) const { return {}; }
  void step(context&, state& s, row_view<const float> x, row_view<float> y) const noexcept {
    y[0] = s.sum += x[0];
  }
};

static_assert(mneme::Memory<archetype>);
static_assert(mneme::CompleteFields<archetype::state>);
static_assert(!mneme::Scannable<archetype> && !mneme::Batched<archetype> && !mneme::Readable<archetype>);
static_assert(!mneme::Growing<archetype> && !mneme::Segmented<archetype> && !mneme::Taught<archetype>);
static_assert(!mneme::Prefixed<archetype> && !mneme::Rewindable<archetype> && !mneme::HasParams<archetype>);
static_assert(!mneme::Evicting<archetype> && !mneme::Sampled<archetype> && !mneme::row_stable<archetype>);
static_assert(std::same_as<mneme::space_t<archetype>, mneme::host>);
static_assert(std::same_as<mneme::input_t<archetype>, float>);

// Compositions are Memories and no more than their parts (a bounded chain must not look Growing).
using chained = mneme::chain_of<archetype, archetype>;
using residual = mneme::residual_of<archetype>;
using stacked = mneme::stack_of<archetype>;
using erased = mneme::any_memory<float>;
static_assert(mneme::Memory<chained> && mneme::Memory<residual> && mneme::Memory<stacked> &&
              mneme::Memory<erased>);
static_assert(mneme::Scannable<chained> && mneme::Batched<chained> && mneme::Batched<stacked> &&
              mneme::Batched<erased>);
static_assert(!mneme::Growing<chained> && !mneme::Growing<residual> && !mneme::Growing<stacked>);
static_assert(!mneme::Segmented<chained> && !mneme::Segmented<residual> && !mneme::Segmented<stacked>);
static_assert(mneme::Memory<mneme::chain_of<erased, erased>> && mneme::Memory<mneme::residual_of<erased>>);

using mneme::join;
using mneme::recall;
using side_by_side = mneme::parallel_of<join::concat, archetype, archetype>;
using routed = mneme::routed_of<archetype, archetype>;
using windowed = mneme::windowed_of<recall::leaving, archetype, archetype>;
using rewindable = mneme::rewindable_of<archetype>;
static_assert(mneme::Batched<side_by_side> && mneme::Batched<routed> && mneme::Batched<windowed> &&
              mneme::Batched<rewindable>);
static_assert(!mneme::Growing<side_by_side> && !mneme::Growing<routed> && !mneme::Growing<windowed> &&
              !mneme::Growing<rewindable>);
static_assert(!mneme::Segmented<side_by_side> && !mneme::Segmented<routed> && !mneme::Segmented<windowed> &&
              !mneme::Segmented<rewindable>);
static_assert(mneme::Rewindable<rewindable> && !mneme::Readable<rewindable> && !mneme::Rewindable<chained> &&
              !mneme::Rewindable<side_by_side> && !mneme::Rewindable<routed> && !mneme::Rewindable<windowed>);
static_assert(mneme::Memory<mneme::parallel_of<join::sum, erased, erased>> &&
              mneme::Memory<mneme::routed_of<erased, erased>> &&
              mneme::Memory<mneme::windowed_of<recall::newest, erased, erased>> &&
              mneme::Memory<mneme::rewindable_of<erased>> && mneme::Memory<mneme::cross_of<erased>>);
static_assert(!mneme::Readable<mneme::rewindable_of<erased>>);  // an erased memory is asked at run time

struct growing : archetype {
  bool reserve(state&, index_t) const { return true; }
};
static_assert(mneme::Growing<growing> && mneme::Growing<mneme::chain_of<archetype, growing>> &&
              mneme::Growing<mneme::residual_of<growing>> && mneme::Growing<mneme::stack_of<growing>>);
struct stable : archetype {
  static constexpr bool row_stable = true;
};
static_assert(mneme::row_stable<mneme::chain_of<stable, stable>> &&
              !mneme::row_stable<mneme::chain_of<stable, archetype>>);

// A factory composes what it is given; it never copies instead.
static_assert(
    std::same_as<decltype(mneme::residual(mneme::residual(archetype{}))), mneme::residual_of<residual>>);
static_assert(std::same_as<decltype(mneme::chain(mneme::chain(archetype{}))),
                           mneme::chain_of<mneme::chain_of<archetype>>>);
static_assert(std::same_as<decltype(mneme::parallel(mneme::parallel(archetype{}))),
                           mneme::parallel_of<join::sum, mneme::parallel_of<join::sum, archetype>>>);
static_assert(std::same_as<decltype(mneme::rewindable(mneme::rewindable(archetype{}))),
                           mneme::rewindable_of<rewindable>>);

template <class M>
std::vector<float> scanned(const M& m, std::vector<float> x, index_t outs) {
  context ctx;
  mneme::prepare(m, ctx, 4);
  auto s = m.init();
  std::vector<float> y(static_cast<std::size_t>(outs));
  const auto rows = static_cast<index_t>(x.size());
  mneme::scan(m, ctx, s, {x.data(), rows, 1}, {y.data(), outs, 1});
  return y;
}
using numbers = std::vector<float>;

TEST_CASE("the archetype scans, steps, observes") {
  context ctx;
  const archetype m;
  CHECK(scanned(m, {1, 2, 3}, 3) == numbers{1, 3, 6});
  CHECK(scanned(m, {1, 2, 3}, 1) == numbers{6});
  CHECK(scanned(m, {}, 0).empty());

  auto s = m.init();
  const numbers x{1, 2};
  numbers y(1);
  mneme::observe(m, ctx, s, {x.data(), 2, 1});
  CHECK(s.sum == 3);
  mneme::step(m, ctx, s, {x.data(), 1}, y);
  CHECK(y[0] == 4);
  CHECK(mneme::reserve(m, s, 100));  // nothing to reserve, nothing to end
  mneme::end_segment(m, ctx, s);
  CHECK(s.sum == 4);
}

TEST_CASE("the archetype in lanes, in compositions, erased") {
  context ctx;
  const archetype m;
  archetype::state a, b{10};
  const numbers x{1, 2, 3};
  numbers y(2);
  const mneme::lane<archetype::state> lanes[] = {{&a, 2, 1}, {&b, 1, 1}};
  mneme::scan_many(m, ctx, lanes, {x.data(), 3, 1}, {y.data(), 2, 1});
  CHECK(y == numbers{3, 13});

  CHECK(scanned(mneme::chain(m, m), {1, 2, 3}, 3) == numbers{1, 4, 10});
  CHECK(scanned(mneme::residual(m), {1, 2, 3}, 2) == numbers{5, 9});
  CHECK(scanned(mneme::residual(mneme::residual(m)), {1, 2, 3}, 1) == numbers{12});
  CHECK(scanned(mneme::stack(std::vector{m, m, m}), {1, 2, 3}, 1) == numbers{15});
  CHECK(scanned(mneme::parallel(m, m), {1, 2, 3}, 2) == numbers{6, 12});
  CHECK(scanned(mneme::routed(m, 1, std::vector{m}), {1, 2, 3}, 2) == numbers{3, 6});
  CHECK(scanned(mneme::windowed({.window = 2}, m, m), {1, 2, 3}, 2) == numbers{3, 7});
  CHECK(scanned(mneme::rewindable(m), {1, 2, 3}, 2) == numbers{3, 6});
  CHECK(scanned(erased(m), {1, 2, 3}, 3) == numbers{1, 3, 6});
  CHECK(scanned(erased(mneme::chain(erased(m), erased(mneme::residual(erased(m))))), {1, 2, 3}, 1) ==
        numbers{16});
  CHECK(!erased(m).growing());
  CHECK(!erased(m).readable());
  CHECK(!erased(m).segmented());
  CHECK(!erased(m).evicting());
  CHECK(!erased(m).rewindable());
  CHECK(erased(mneme::rewindable(m)).rewindable());
  CHECK(erased(growing{}).growing());
}

}  // namespace
