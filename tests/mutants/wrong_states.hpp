// SPDX-License-Identifier: Apache-2.0
// Mutants whose state is no value: copies, comparison, fields, bytes.
#pragma once
#include "wrong_calls.hpp"

namespace mneme_test::mutants {

struct compares_part_state : leaky_state<float> {
  using composed_fields = void;
  friend bool operator==(const compares_part_state& a, const compares_part_state& b) {
    return a.seen == b.seen;
  }
};
struct compares_part : leaky<float, compares_part_state> {};

struct compares_values_state : leaky_state<float> {  // NaN != NaN
  using composed_fields = void;
  friend bool operator==(const compares_values_state& a, const compares_values_state& b) {
    return a.seen == b.seen && std::equal(a.level.begin(), a.level.end(), b.level.begin(), b.level.end()) &&
           a.before == b.before;
  }
};
struct compares_values : leaky<float, compares_values_state> {};

// A buffer whose copies are the same buffer.
struct shared_buffer {
  std::shared_ptr<buffer<float>> to = std::make_shared<buffer<float>>();
  shared_buffer() = default;
  shared_buffer& operator=(buffer<float> b) {
    to = std::make_shared<buffer<float>>(std::move(b));
    return *this;
  }
  float& operator[](index_t i) { return (*to)[i]; }
  float operator[](index_t i) const { return (*to)[i]; }
  friend bool operator==(const shared_buffer& a, const shared_buffer& b) { return *a.to == *b.to; }
};
struct aliasing_state {
  using composed_fields = void;
  shared_buffer level;
  buffer<float> before;
  index_t seen = 0;
  friend bool operator==(const aliasing_state&, const aliasing_state&) = default;
  static void fields(auto&& f, auto&... s) {
    f("level", *s.level.to...);
    f("before", s.before...);
    f("seen", s.seen...);
  }
};
struct aliasing : leaky<float, aliasing_state> {};

struct sticky_move_state : leaky_state<float> {  // once moved from, never assigned to again
  using composed_fields = void;
  sticky_move_state() = default;
  sticky_move_state(const sticky_move_state&) = default;
  sticky_move_state(sticky_move_state&& o) noexcept : leaky_state<float>(std::move(o)) { o.seen = -1; }
  sticky_move_state& operator=(const sticky_move_state& o) {
    if (seen >= 0) leaky_state<float>::operator=(o);
    return *this;
  }
  sticky_move_state& operator=(sticky_move_state&& o) noexcept { return *this = std::as_const(o); }
  friend bool operator==(const sticky_move_state&, const sticky_move_state&) = default;
};
struct sticky_move : leaky<float, sticky_move_state> {};

struct forgets_field_state : leaky_state<float> {  // CompleteFields would have refused it
  using composed_fields = void;
  friend bool operator==(const forgets_field_state&, const forgets_field_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("before", s.before...);
    f("seen", s.seen...);
  }
};
struct forgets_field : leaky<float, forgets_field_state> {};

struct garbage_slot_state
    : leaky_state<float> {  // equal states, different bytes: the number of the copy is saved
  using composed_fields = void;
  index_t copies = 0;
  garbage_slot_state() = default;
  garbage_slot_state(const garbage_slot_state& o) : leaky_state<float>(o), copies(o.copies + 1) {}
  garbage_slot_state& operator=(const garbage_slot_state& o) {
    leaky_state<float>::operator=(o);
    ++copies;
    return *this;
  }
  friend bool operator==(const garbage_slot_state& a, const garbage_slot_state& b) {
    return static_cast<const leaky_state<float>&>(a) == b;
  }
  static constexpr void fields(auto&& f, auto&... s) {
    leaky_state<float>::fields(f, s...);
    f("copies", s.copies...);
  }
};
struct garbage_slot : leaky<float, garbage_slot_state> {};

struct one_name_state : leaky_state<float> {  // two fields of one name: a file could not tell them apart
  using composed_fields = void;
  friend bool operator==(const one_name_state&, const one_name_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("level", s.level...);
    f("level", s.before...);
    f("seen", s.seen...);
  }
};
struct one_name : leaky<float, one_name_state> {};

struct hides_bytes_state : leaky_state<float> {
  using composed_fields = void;
  buffer<float> hidden;
  friend bool operator==(const hides_bytes_state&, const hides_bytes_state&) = default;
};
struct hides_bytes : leaky<float, hides_bytes_state> {
  state init(place where = {}) const {
    state s = leaky::init(where);
    s.hidden = buffer<float>(100, 0.0f, where);
    return s;
  }
};

struct other_heap : base {  // ignores where it shall live
  state init(place = {}) const { return base::init(); }
};

struct grows_state : leaky_state<float> {
  using composed_fields = void;
  buffer<float> log;
  friend bool operator==(const grows_state&, const grows_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    leaky_state<float>::fields(f, s...);
    f("log", s.log...);
  }
};
struct grows : leaky<float, grows_state> {  // a bounded memory that keeps a diary
  state init(place where = {}) const {
    state s = leaky::init(where);
    s.log = buffer<float>(1, 0.0f, where);
    return s;
  }
  static void write(state& s, index_t rows) noexcept { s.log.resize(s.log.size() + rows); }
  void step(context& ctx, state& s, in_row x, out_row y) const noexcept {
    leaky::step(ctx, s, x, y);
    write(s, 1);
  }
  void scan(context& ctx, state& s, in_rows X, out_rows Y) const noexcept {
    leaky::scan(ctx, s, X, Y);
    write(s, X.rows());
  }
};

struct reallocating_state : leaky_state<float> {  // copy and swap, where assignment should reuse its storage
  using composed_fields = void;
  reallocating_state() = default;
  reallocating_state(const reallocating_state&) = default;
  reallocating_state(reallocating_state&&) = default;
  reallocating_state& operator=(const reallocating_state& o) { return *this = reallocating_state(o); }
  reallocating_state& operator=(reallocating_state&&) = default;
  friend bool operator==(const reallocating_state&, const reallocating_state&) = default;
};
struct reallocates : leaky<float, reallocating_state> {};

}  // namespace mneme_test::mutants
