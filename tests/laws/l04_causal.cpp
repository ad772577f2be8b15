// SPDX-License-Identifier: Apache-2.0
// L4: outputs before t do not depend on rows from t on, also when those are NaN or Inf; to the bit.
#include "laws.hpp"

namespace mneme_test {

findings l04_causal(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 4), other = e.rows(rows, 5);
    stream<T, Input> plain(e.memory(), ctx);
    const matrix<T> Y = plain.scan(X);

    std::vector<std::pair<const char*, Input>> futures;  // and `other`, below
    if constexpr (std::is_floating_point_v<Input>) {
      constexpr auto inf = std::numeric_limits<Input>::infinity();
      futures = {{"NaN", poison<Input>()},
                 {"Inf", inf},
                 {"-Inf", -inf},
                 {"huge", std::numeric_limits<Input>::max()}};
    } else {
      futures = {{"lowest id", std::numeric_limits<Input>::min()},
                 {"highest id", std::numeric_limits<Input>::max()}};
    }
    futures.push_back({"other rows", Input{}});

    for (const auto& [name, value] : futures)
      for (const index_t t : {index_t{0}, index_t{1}, rows / 2, rows - 2, rows - 1}) {
        matrix<Input> changed = X;
        for (index_t r = t; r < rows; ++r) {
          const auto row = changed.view()[r];
          if (&name == &futures.back().first)
            std::copy(other.view()[r].begin(), other.view()[r].end(), row.begin());
          else
            std::fill(row.begin(), row.end(), value);
        }
        stream<T, Input> surprised(e.memory(), ctx);
        const matrix<T> Z = surprised.scan(changed);
        e.same_bits(Z.view().first(t), Y.view().first(t),
                    [&] { return "rows from " + std::to_string(t) + " on are " + name; });
      }
  });
}

}  // namespace mneme_test
