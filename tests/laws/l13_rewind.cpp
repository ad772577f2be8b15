// SPDX-License-Identifier: Apache-2.0
// L13: after rewind(mark) the state continues as the copy taken at mark, to the bit; a mark within
// rewindable_by is granted, every other is refused and leaves the state untouched. Going back tells no
// eviction.
#include "eviction_log.hpp"
#include "laws.hpp"

namespace mneme_test {
namespace {

// What a stream was when it had this mark.
template <class S>
struct moment {
  index_t mark;
  S past;
};

template <class T, class Input>
class rewinding {
 public:
  using state = mneme::any_state<T>;
  explicit rewinding(examination<T, Input>& e) : e_(e), next_(e.rows(5, 61)) {}

  // Takes `from` back to what it was; whether that was granted.
  bool back(const state& from, const moment<state>& to, const std::string& where) {
    const auto says = [&](const char* what) { return [&, what] { return where + what; }; };
    const auto& m = e_.memory();
    const index_t by = m.mark(from) - to.mark, reach = m.rewindable_by(from);
    context ctx;
    eviction_log told(ctx);
    state s = from;
    const bool granted = m.rewind(ctx, s, to.mark);
    e_.holds(told.told().empty(), says(", going back tells no eviction"));
    e_.holds(granted == (by >= 0 && by <= reach), says(", rewindable_by said so"));
    if (!granted) {
      e_.same_bits(s, from, says(", refused"));
      return false;
    }
    e_.holds(m.mark(s) == to.mark, says(", the mark is that of the copy"));
    if (m.rewindable_by(s) == m.rewindable_by(to.past)) e_.same_bits(s, to.past, says(", restored"));
    goes_on_as(s, to.past, says(", going on"));
    return true;
  }

 private:
  template <class Where>
  void goes_on_as(const state& got, const state& copy, Where&& where) {
    context ctx;
    for (const bool single : {false, true}) {
      stream<T, Input> one(e_.memory(), ctx, got), other(e_.memory(), ctx, copy);
      e_.same_bits(single ? one.steps(next_) : one.scan(next_),
                   single ? other.steps(next_) : other.scan(next_), where);
    }
  }

  examination<T, Input>& e_;
  matrix<Input> next_;
};

}  // namespace

findings l13_rewind(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    const auto& m = e.memory();
    if (!m.rewindable()) return;
    context ctx;
    using state = mneme::any_state<T>;
    const index_t rows = std::max<index_t>(e.length(), 31);
    const auto X = e.rows(rows, 60);
    rewinding<T, Input> check(e);

    stream<T, Input> one(m, ctx);
    std::vector<moment<state>> moments{{m.mark(one.past), one.past}};
    const auto remember = [&] {
      const moment<state> now{m.mark(one.past), one.past};
      e.holds(now.mark > moments.back().mark, [] { return std::string("marks grow"); });
      moments.push_back(now);
    };
    bool any_granted = false;
    index_t fed = 0;
    for (const index_t piece : {1, 1, 3, 1, 2, 7, 1, 1, 11, 1, 1, 64}) {
      const index_t end = std::min(fed + piece, rows);
      if (end == fed) break;
      if (piece == 1)
        one.steps(X.view().range(fed, end));
      else
        one.scan(X.view().range(fed, end), 1);
      fed = end;
      remember();
      if (const state before = one.past; m.segmented()) {
        m.end_segment(ctx, one.past);
        if (!(one.past == before)) remember();
      }
      for (const moment<state>& to : moments) {
        const bool granted =
            check.back(one.past, to,
                       "from mark " + std::to_string(moments.back().mark) + " to " + std::to_string(to.mark));
        any_granted = any_granted || (granted && to.mark < moments.back().mark);
      }
    }
    e.holds(any_granted, [] { return std::string("something can be taken back"); });

    // Marks that no state had.
    const index_t now = m.mark(one.past), reach = m.rewindable_by(one.past);
    for (const index_t mark : {now + 1, now + rows, now - reach - 1, index_t{-1}}) {
      state same = one.past;
      e.holds(!m.rewind(ctx, same, mark), [&] { return "mark " + std::to_string(mark) + " is refused"; });
      e.same_bits(same, one.past, [&] { return "refused mark " + std::to_string(mark); });
    }

    // Back, another way, back again: the second way leaves no trace of the first.
    state s = one.past;
    for (const moment<state>& to : moments) {
      if (to.mark < now - reach) continue;
      stream<T, Input> detour(m, ctx, s);
      e.holds(m.rewind(ctx, detour.past, to.mark), [] { return std::string("back from a detour"); });
      const state direct = detour.past;
      detour.scan(e.rows(2, 62), 0);
      check.back(detour.past, {to.mark, direct}, "back from a detour");
      break;
    }
  });
}

}  // namespace mneme_test
