// SPDX-License-Identifier: Apache-2.0
// L21: of a memory that says so, the bits of a row's result do not depend on how many rows or lanes came with
// it.
#include "laws.hpp"

namespace mneme_test {

findings l21_row_stable(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    if (!e.on().row_stable) return;
    context ctx;
    const index_t rows = 37;
    const auto X = e.rows(rows, 50);
    const auto& m = e.memory();
    stream<T, Input> single(m, ctx);
    const matrix<T> Y = single.steps(X);

    for (const index_t chunk : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 36, 37}) {
      stream<T, Input> chunks(m, ctx);
      for (index_t a = 0; a < rows; a += chunk) {
        const index_t b = std::min(a + chunk, rows);
        e.same_bits(chunks.scan(X.view().range(a, b)), Y.view().range(a, b),
                    [&] { return "scans of " + std::to_string(chunk) + " rows against steps"; });
      }
      e.same_bits(chunks.past, single.past, [&] { return "scans of " + std::to_string(chunk) + " rows"; });
    }
    for (const index_t lanes : {1, 2, 3, 4, 5, 8, 13, 16, 17, 33}) {  // all lanes are fed the same stream
      std::vector<mneme::any_state<T>> pasts(static_cast<std::size_t>(lanes), m.init());
      std::vector<mneme::lane<mneme::any_state<T>>> batch;
      for (auto& past : pasts) batch.push_back({&past, 1, 1});
      for (index_t t = 0; t < 5; ++t) {
        matrix<Input> in(lanes, m.d_in());
        for (index_t l = 0; l < lanes; ++l)
          std::copy(X.view()[t].begin(), X.view()[t].end(), in.view()[l].begin());
        matrix<T> out(lanes, m.d_out());
        m.scan_many(ctx, batch, in, out.view());
        for (index_t l = 0; l < lanes; ++l)
          e.same_bits(out.view().range(l, l + 1), Y.view().range(t, t + 1),
                      [&] { return "one of " + std::to_string(lanes) + " lanes against a step"; });
      }
    }
  });
}

}  // namespace mneme_test
