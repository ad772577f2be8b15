// SPDX-License-Identifier: Apache-2.0
// L11: any number of rows around the widths of vectors and blocks, misaligned pointers, strides wider than
// rows. (Widths D of all kinds are in samples().)
#include "laws.hpp"

namespace mneme_test {

findings l11_shapes(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const auto& m = e.memory();
    for (const index_t rows : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 35, 64, 67}) {
      const auto X = e.rows(rows, 15);
      stream<T, Input> plain(m, ctx), single(m, ctx);
      const matrix<T> Y = plain.scan(X);
      const auto length = [&] { return std::to_string(rows) + " rows against steps"; };
      e.equal(single.steps(X), Y, rows, length);
      e.equal(single.past, plain.past, rows, length);

      const placement places[] = {{0, 1}, {3, 0}, {1, 3}}, p = places[rows % 3];
      const auto where = [&] {
        return std::to_string(rows) + " rows, " + std::to_string(p.shift) +
               " elements off alignment, stride " + std::to_string(p.gap) + " wider";
      };
      stream<T, Input> placed(m, ctx);
      const matrix<Input> in(X, p);
      const auto out = placed.scan(in, -1, p);
      e.same_bits(out, Y, where);
      e.same_bits(placed.past, plain.past, where);
      e.holds(out.surrounding_untouched(), where);
    }
  });
}

}  // namespace mneme_test
