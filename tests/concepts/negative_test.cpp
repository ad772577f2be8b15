// SPDX-License-Identifier: Apache-2.0
// What lacks one part of a Memory is none, and the concept of that part says so.
#include "../catch.hpp"

#include <mneme/core/any_memory.hpp>

namespace mneme_test::negative {

using mneme::buffer;
using mneme::context;
using mneme::index_t;
using mneme::place;
using mneme::row_view;

// A Memory; each type below takes one part away.
struct whole {
  using scalar = float;
  using state = mneme::nothing;
  index_t d_in() const { return 1; }
  index_t d_out() const { return 1; }
  state init(place = {}) const { return {}; }
  void step(context&, state&, row_view<const float>, row_view<float>) const noexcept {}
};
static_assert(mneme::HasTypes<whole> && mneme::HasShape<whole> && mneme::HasInit<whole> &&
              mneme::HasStep<whole>);
static_assert(mneme::Memory<whole>);

struct no_scalar {
  using state = mneme::nothing;
};
struct no_state {
  using scalar = float;
};
static_assert(!mneme::HasTypes<no_scalar> && !mneme::HasTypes<no_state> && !mneme::HasTypes<int>);
static_assert(!mneme::Memory<no_scalar> && !mneme::Memory<no_state> && !mneme::Memory<int>);

struct no_width : whole {
  index_t d_out() const = delete;
};
struct unsigned_width : whole {
  std::size_t d_in() const { return 1; }
};
struct changing_width : whole {
  index_t d_in() { return 1; }  // not of a const memory
};
static_assert(!mneme::HasShape<no_width> && !mneme::HasShape<unsigned_width> &&
              !mneme::HasShape<changing_width>);

struct no_place : whole {
  state init() const { return {}; }
};
struct changing_init : whole {
  state init(place = {}) { return {}; }
};
static_assert(!mneme::HasInit<no_place> && !mneme::HasInit<changing_init>);

struct no_equality : whole {
  struct state {
    static constexpr void fields(auto&&, auto&...) {}
  };
  state init(place = {}) const { return {}; }
};
struct no_copy : whole {
  struct state {
    state() = default;
    state(state&&) = default;
    state& operator=(state&&) = default;
    friend bool operator==(const state&, const state&) = default;
    static constexpr void fields(auto&&, auto&...) {}
  };
  state init(place = {}) const { return {}; }
};
struct no_fields : whole {
  struct state {
    friend bool operator==(const state&, const state&) = default;
  };
  state init(place = {}) const { return {}; }
};
static_assert(!mneme::HasInit<no_equality> && !mneme::HasInit<no_copy> && !mneme::HasInit<no_fields>);

struct throwing_step : whole {
  void step(context&, state&, row_view<const float>, row_view<float>) const {}
};
struct changing_step : whole {
  void step(context&, state&, row_view<const float>, row_view<float>) noexcept {}
};
struct answering_step : whole {
  bool step(context&, state&, row_view<const float>, row_view<float>) const noexcept { return true; }
};
static_assert(!mneme::HasStep<throwing_step> && !mneme::HasStep<changing_step> &&
              !mneme::HasStep<answering_step>);

// Refinements must have the whole signature.
struct changing_read : whole {
  void read(context&, state&, row_view<const float>, row_view<float>) const {}
};
struct silent_reserve : whole {
  void reserve(state&, index_t) const {}
};
struct unmarked_rewind : whole {  // marks are numbers
  index_t rewindable_by(const state&) const { return 0; }
  bool rewind(context&, state&, index_t) const { return false; }
};
struct speechless_rewind : unmarked_rewind {
  index_t mark(const state&) const { return 0; }
  void rewind(context&, state&, index_t) const {}
};
struct samples_without_seed : whole {
  struct config {};
  explicit samples_without_seed(config) {}
  static std::vector<config> samples() { return {}; }
};
static_assert(!mneme::Readable<changing_read> && !mneme::Growing<silent_reserve> &&
              !mneme::Sampled<samples_without_seed> && !mneme::Rewindable<unmarked_rewind> &&
              !mneme::Rewindable<speechless_rewind>);

// CompleteFields: as many fields as members.
struct all_fields {
  buffer<float> a;
  buffer<int> b;
  index_t n = 0;
  static constexpr void fields(auto&& f, auto&... s) {
    f("a", s.a...);
    f("b", s.b...);
    f("n", s.n...);
  }
};
struct forgets_last {
  buffer<float> a;
  buffer<int> b;
  index_t n = 0;
  static constexpr void fields(auto&& f, auto&... s) {
    f("a", s.a...);
    f("b", s.b...);
  }
};
struct forgets_only {
  index_t n = 0;
  static constexpr void fields(auto&&, auto&...) {}
};
struct visits_twice {
  index_t n = 0;
  static constexpr void fields(auto&& f, auto&... s) {
    f("n", s.n...);
    f("n", s.n...);
  }
};
static_assert(mneme::CompleteFields<all_fields> && mneme::CompleteFields<mneme::nothing>);
static_assert(!mneme::CompleteFields<forgets_last> && !mneme::CompleteFields<forgets_only> &&
              !mneme::CompleteFields<visits_twice> && !mneme::CompleteFields<int>);
static_assert(mneme::CompleteFields<mneme::any_state<float>> &&
              mneme::CompleteFields<mneme::many<all_fields>>);

TEST_CASE("what is no Memory is refused at compile time") { SUCCEED(); }

}  // namespace mneme_test::negative
