// SPDX-License-Identifier: Apache-2.0
// L15: after prepare (and reserve) step and scan allocate and free nothing; nor does s = s0, nor a call of a
// shape that the context has seen.
#include "allocation_counter.hpp"
#include "laws.hpp"

namespace mneme_test {

findings l15_quiet(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    const index_t rows = e.length();
    const auto X = e.rows(rows, 17);
    const auto& m = e.memory();
    matrix<T> Y(rows, m.d_out());
    const auto quiet = [&](const char* what, auto&& f) {
      const auto n = allocations_of(f);
      e.no_difference(n == allocation_count{} ? ""
                                              : "allocates " + std::to_string(n.taken) + " times, frees " +
                                                    std::to_string(n.given_back) + " times",
                      [what] { return std::string(what); });
    };
    const auto reserved = [&](index_t n) {
      auto past = m.init();
      e.holds(m.reserve(past, n), [] { return std::string("reserve"); });
      return past;
    };

    {  // the counter counts: a law about nothing must see something
      const auto seen = allocations_of([] { ::operator delete(::operator new(1)); });
      e.holds(seen == allocation_count{1, 1},
              [] { return std::string("negative control: new and delete are counted"); });
    }
    {
      context ctx(64);
      mneme::prepare(m, ctx, 1);
      auto past = reserved(rows);
      quiet("step after prepare(1)", [&] {
        for (index_t t = 0; t < rows; ++t) m.step(ctx, past, X.view()[t], Y.view()[t]);
      });
    }
    {
      context ctx(64);
      mneme::prepare(m, ctx, rows);
      auto past = reserved(3 * rows);
      quiet("scan after prepare(rows)", [&] { m.scan(ctx, past, X, Y.view()); });
      quiet("a shorter scan", [&] { m.scan(ctx, past, X.view().first(rows / 2), Y.view().first(1)); });
      quiet("step after scan", [&] { m.step(ctx, past, X.view()[0], Y.view()[0]); });

      auto another = reserved(3 * rows);
      const mneme::lane<mneme::any_state<T>> lanes[] = {{&past, 2, 1}, {&another, 3, 3}};
      const auto batch = [&] { m.scan_many(ctx, lanes, X.view().first(5), Y.view().first(4)); };
      batch();
      quiet("the same batch again", batch);

      const auto start = m.init();
      quiet("s = s0", [&] { past = start; });
      auto copy = past;
      quiet("s = a state of the same size", [&] { copy = past; });
      quiet("a comparison", [&] { (void)(copy == past); });
    }
  });
}

}  // namespace mneme_test
