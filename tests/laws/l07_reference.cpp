// SPDX-License-Identifier: Apache-2.0
// L7: within c * eps(T) * scale of the double-precision reference with the same weights.
#include "eviction_log.hpp"
#include "laws.hpp"

namespace mneme_test {

namespace {
// Every number off by a rounding of T, up or down.
template <class T, class E>
matrix<E> off_by_a_rounding(const matrix<E>& X, std::uint64_t seed) {
  matrix<E> Y(X.view(), {});
  if constexpr (std::is_floating_point_v<E>) {
    mneme::random_stream draw(7, seed);
    for (index_t r = 0; r < Y.rows(); ++r)
      for (E& x : Y.view()[r]) x *= draw.bits() % 2 ? 1 + epsilon<T> : 1 - epsilon<T>;
  }
  return Y;
}
// The largest distance of two rows.
double apart(const matrix<double>& a, const matrix<double>& b) {
  double most = 0;
  for (index_t i = 0; i < a.cols(); ++i) most = std::max(most, std::abs(a.view()[0][i] - b.view()[0][i]));
  return most;
}
// What no rounding explains: the reference itself chose another entry, or another key.
bool another_choice(double distance, const matrix<double>& z, double eps) {
  double scale = tolerance::floor;
  for (const double x : z.view()[0]) scale = std::max(scale, std::abs(x));
  return distance > 1000 * eps * scale;
}
}  // namespace

findings l07_reference(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    if (!e.on().oracle) return;
    using wide = typename subject<T, Input>::oracle_input;
    context ctx, oracle_ctx, moved_ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 10);
    const matrix<wide> W = widened<Input>(X);
    stream<T, Input> scanned(e.memory(), ctx), stepped(e.memory(), ctx);
    stream<double, wide> oracle(*e.on().oracle, oracle_ctx),
        moved[] = {{*e.on().oracle, moved_ctx}, {*e.on().oracle, moved_ctx}, {*e.on().oracle, moved_ctx}};
    const matrix<wide> off[] = {off_by_a_rounding<T>(W, 0), off_by_a_rounding<T>(W, 1),
                                off_by_a_rounding<T>(W, 2)};
    const matrix<T> Y = scanned.scan(X);

    eviction_log dropped(ctx), oracle_dropped(oracle_ctx);
    double furthest = 0;
    for (index_t t = 0; t < rows; ++t) {
      const auto at = [&](const char* how) { return [t, how] { return how + std::to_string(t); }; };
      const matrix<T> y = stepped.steps(X.view().range(t, t + 1));
      const matrix<double> z = oracle.steps(W.view().range(t, t + 1));
      tolerance allowed = e.tolerance(t + 1);
      for (std::size_t i = 0; i < std::size(moved); ++i)
        furthest = std::max(furthest, apart(z, moved[i].steps(off[i].view().range(t, t + 1))));
      // A tie: roundings decide, and two histories go on.
      if (another_choice(furthest, z, allowed.eps)) break;
      allowed.moved = furthest;
      e.no_difference(difference<T, double>(Y.view().range(t, t + 1), z, allowed), at("scan, token "));
      e.no_difference(difference<T, double>(y, z, allowed), at("step, token "));
      if (dropped.told() == oracle_dropped.told()) continue;
      // A lossy store may round a score to the other side of a near-tie: from here on two histories go on.
      e.holds(e.on().storage_epsilon > 0, at("the reference evicts another entry after token "));
      break;
    }
  });
}

}  // namespace mneme_test
