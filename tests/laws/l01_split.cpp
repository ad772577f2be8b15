// SPDX-License-Identifier: Apache-2.0
// L1: scan(X) == scan(X[:k]); scan(X[k:]) for every k including 0 and T; the last-rows form agrees with the
// full one.
#include "laws.hpp"

namespace mneme_test {

findings l01_split(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows);
    stream<T, Input> whole(e.memory(), ctx);
    const matrix<T> Y = whole.scan(X);

    for (index_t k = 0; k <= rows; ++k) {
      const auto at = [&] { return "cut at " + std::to_string(k) + " of " + std::to_string(rows); };
      stream<T, Input> parts(e.memory(), ctx);
      e.equal(parts.scan(X.view().first(k)), Y.view().first(k), rows, at);
      e.equal(parts.scan(X.view().last(rows - k)), Y.view().last(rows - k), rows, at);
      e.equal(parts.past, whole.past, rows, at);

      const auto last = [&] {
        return "the last " + std::to_string(k) + " of " + std::to_string(rows) + " outputs";
      };
      stream<T, Input> tail(e.memory(), ctx);
      e.equal(tail.scan(X, k), Y.view().last(k), rows, last);
      e.equal(tail.past, whole.past, rows, last);
    }

    for (const index_t block : {1, 3, 7}) {  // how a composition cuts
      const auto by = [&] { return "blocks of " + std::to_string(block) + " rows"; };
      context blocks;
      blocks.block_rows = block;
      stream<T, Input> composite(e.memory(), blocks), chunks(e.memory(), ctx);
      e.equal(composite.scan(X, rows - 1), Y.view().last(rows - 1), rows, by);
      e.equal(composite.past, whole.past, rows, by);
      for (index_t a = 0; a < rows; a += block) {
        const index_t b = std::min(a + block, rows);
        e.equal(chunks.scan(X.view().range(a, b)), Y.view().range(a, b), rows, by);
      }
      e.equal(chunks.past, whole.past, rows, by);
    }
  });
}

}  // namespace mneme_test
