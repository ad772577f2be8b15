// SPDX-License-Identifier: Apache-2.0
// L2: scan == T x step, outputs and final state; steps and scans may follow one another.
#include "laws.hpp"

namespace mneme_test {

findings l02_step(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    for (const index_t rows : {e.length(), index_t{131}}) {  // past the block sizes of chunked kernels
      const auto X = e.rows(rows, 1);
      stream<T, Input> whole(e.memory(), ctx), single(e.memory(), ctx), mixed(e.memory(), ctx);
      const matrix<T> Y = whole.scan(X), Z = single.steps(X);
      const auto what = [&] { return std::to_string(rows) + " steps against one scan"; };
      e.equal(Z, Y, rows, what);
      e.equal(single.past, whole.past, rows, what);

      const index_t a = rows / 3, b = rows - 2;
      const auto turns = [] { return std::string("steps, a scan, steps"); };
      e.equal(mixed.steps(X.view().first(a)), Y.view().first(a), rows, turns);
      e.equal(mixed.scan(X.view().range(a, b)), Y.view().range(a, b), rows, turns);
      e.equal(mixed.steps(X.view().range(b, rows)), Y.view().range(b, rows), rows, turns);
      e.equal(mixed.past, whole.past, rows, turns);
    }
  });
}

}  // namespace mneme_test
