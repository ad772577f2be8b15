// SPDX-License-Identifier: Apache-2.0
// L7: within c * eps(T) * scale of the double-precision reference with the same weights.
#include "eviction_log.hpp"
#include "laws.hpp"

namespace mneme_test {

findings l07_reference(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    if (!e.on().oracle) return;
    using wide = typename subject<T, Input>::oracle_input;
    context ctx, oracle_ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 10);
    const matrix<wide> W = widened<Input>(X);
    stream<T, Input> scanned(e.memory(), ctx), stepped(e.memory(), ctx);
    stream<double, wide> oracle(*e.on().oracle, oracle_ctx);
    const matrix<T> Y = scanned.scan(X);

    eviction_log dropped(ctx), oracle_dropped(oracle_ctx);
    for (index_t t = 0; t < rows; ++t) {
      const auto at = [&](const char* how) { return [t, how] { return how + std::to_string(t); }; };
      const matrix<T> y = stepped.steps(X.view().range(t, t + 1));
      const matrix<double> z = oracle.steps(W.view().range(t, t + 1));
      e.no_difference(difference<T, double>(Y.view().range(t, t + 1), z, e.tolerance(t + 1)),
                      at("scan, token "));
      e.no_difference(difference<T, double>(y, z, e.tolerance(t + 1)), at("step, token "));
      if (dropped.told() == oracle_dropped.told()) continue;
      // A lossy store may round a score to the other side of a near-tie: from here on two histories go on.
      e.holds(e.on().storage_epsilon > 0, at("the reference evicts another entry after token "));
      break;
    }
  });
}

}  // namespace mneme_test
