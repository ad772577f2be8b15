// SPDX-License-Identifier: Apache-2.0
// L5: copies are independent; == is bit identity, reflexive with NaN; moved-from is safe.
#include "laws.hpp"

namespace mneme_test {

findings l05_fork(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 6), other = e.rows(rows, 7);
    const auto& m = e.memory();
    const auto says = [](const char* what) { return [what] { return std::string(what); }; };

    stream<T, Input> original(m, ctx);
    original.scan(X);
    const auto before = copy_leaves(original.past);
    stream<T, Input> branch(m, ctx, original.past);
    e.same_bits(branch.past, original.past, says("a copy"));
    branch.scan(other);
    e.holds(copy_leaves(original.past) == before, says("a scan on a copy leaves the original alone"));
    stream<T, Input> again(m, ctx, original.past);
    again.steps(other);
    e.holds(copy_leaves(original.past) == before, says("steps on a copy leave the original alone"));

    auto kept = branch.past;
    const auto kept_bits = copy_leaves(kept);
    original.scan(other);
    branch.past = original.past;
    e.same_bits(branch.past, original.past, says("copy-assignment"));
    e.holds(copy_leaves(kept) == kept_bits, says("assigning over a state leaves its copies alone"));
    const auto& self = branch.past;
    branch.past = self;
    e.same_bits(branch.past, original.past, says("self-assignment"));

    // == is what the leaves say.
    stream<T, Input> left(m, ctx), right(m, ctx);
    left.scan(X);
    right.scan(other);
    e.holds((left.past == right.past) == (copy_leaves(left.past) == copy_leaves(right.past)),
            says("== of two different pasts sees every field"));
    e.holds((left.past == m.init()) == (copy_leaves(left.past) == copy_leaves(m.init())),
            says("== with the start state sees every field"));

    if constexpr (std::is_floating_point_v<Input>) {
      const matrix<Input> bad(3, m.d_in());  // poison: NaN
      stream<T, Input> broken(m, ctx);
      broken.scan(bad);
      const auto copy = broken.past;
      e.holds(copy == broken.past && broken.past == broken.past, says("== with NaN in the state"));
    }

    auto moved = std::move(left.past);
    left.past = moved;
    e.same_bits(left.past, moved, says("assignment to a moved-from state"));
    auto dropped = std::move(moved);
    moved = std::move(dropped);
    e.same_bits(moved, left.past, says("moved away and back"));
    if (e.on().survives_move) e.holds(e.on().survives_move(), says("a moved-from state takes a new value"));
  });
}

}  // namespace mneme_test
