// SPDX-License-Identifier: Apache-2.0
// L3: no rows change nothing, to the bit; any state is a legal start.
#include "laws.hpp"

namespace mneme_test {

findings l03_start(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 2), other = e.rows(rows, 3);
    const auto& m = e.memory();
    using lane = mneme::lane<mneme::any_state<T>>;
    const mneme::mat_view<const Input> no_input(nullptr, 0, m.d_in());
    const mneme::mat_view<T> no_output(nullptr, 0, m.d_out());
    e.same_bits(m.init(), m.init(), [] { return std::string("init twice"); });

    stream<T, Input> used(m, ctx);
    used.scan(other);
    for (const auto& start : {m.init(), used.past}) {
      const auto from = [&] { return std::string(&start == &used.past ? "a used state" : "a start state"); };
      stream<T, Input> idle(m, ctx, start);
      m.scan(ctx, idle.past, no_input, no_output);
      e.same_bits(idle.past, start, [&] { return from() + ", scan of no rows"; });
      const lane nothing_to_do{&idle.past, 0, 0};
      m.scan_many(ctx, {&nothing_to_do, 1}, no_input, no_output);
      e.same_bits(idle.past, start, [&] { return from() + ", a lane of no rows"; });
      m.scan_many(ctx, {}, no_input, no_output);

      stream<T, Input> whole(m, ctx, start), single(m, ctx, start);
      const matrix<T> Y = whole.scan(X);
      const auto goes_on = [&] { return from() + ", scan against steps from there"; };
      e.equal(single.steps(X), Y, 2 * rows, goes_on);
      e.equal(single.past, whole.past, 2 * rows, goes_on);

      auto assigned = used.past;
      assigned = start;
      stream<T, Input> reset(m, ctx, std::move(assigned));
      e.same_bits(reset.scan(X), Y, [&] { return from() + ", assigned over another state"; });
    }

    // A stream cut anywhere goes on as if it had not been cut, which a memory that loses its start state
    // cannot do.
    stream<T, Input> uncut(m, ctx), cut(m, ctx);
    matrix<Input> joined(2 * rows, m.d_in());
    for (index_t t = 0; t < rows; ++t) {
      std::copy(other.view()[t].begin(), other.view()[t].end(), joined.view()[t].begin());
      std::copy(X.view()[t].begin(), X.view()[t].end(), joined.view()[rows + t].begin());
    }
    const matrix<T> Y = uncut.scan(joined);
    cut.scan(other, 0);
    e.equal(cut.scan(X), Y.view().last(rows), 2 * rows,
            [] { return std::string("start from what was observed"); });
  });
}

}  // namespace mneme_test
