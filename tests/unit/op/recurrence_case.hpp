// SPDX-License-Identifier: Apache-2.0
// Operands of the gated linear recurrence for its tests, and ways to run it on them.
#pragma once
#include <mneme/backend/cpu/recurrence.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

#include <cmath>

namespace recurrence_test {

using namespace mneme;
using mneme_test::matrix;
using mneme_test::placement;

// All operands that any rule may ask for; rows of one head.
template <class T>
struct operands {
  matrix<T> S, q, k, v, scalars, keys, values, beta, a, b;  // scalars, keys, values: the decay of that kind

  index_t tokens() const { return k.rows(); }
  // What rule R reads of the tokens [from, to), of which the last `outs` are read out.
  template <rule R>
  recurrence_rows<T> rows(index_t from, index_t to, index_t outs) const {
    const auto of = [&](const matrix<T>& m) { return m.view().range(from, to); };
    recurrence_rows<T> in{.q = q.view().range(to - outs, to), .k = of(k), .v = of(v)};
    if constexpr (R.forget == decay::scalar) in.alpha = of(scalars);
    if constexpr (R.forget == decay::key) in.alpha = of(keys);
    if constexpr (R.forget == decay::value) in.alpha = of(values);
    if constexpr (R.write == update::delta) in.beta = of(beta);
    if constexpr (R.write == update::dplr) in.a = of(a), in.b = of(b);
    return in;
  }
  // Runs them on S in place; returns the outputs.
  template <rule R, class Backend>
  matrix<T> run(matrix<T>& state, index_t from, index_t to, index_t outs, placement at = {}) const {
    context ctx;
    matrix<T> O(outs, v.cols(), at);
    kernel<recurrence<R>, Backend>::template run<T>(ctx, state.view(), rows<R>(from, to, outs), O.view());
    CHECK(O.surrounding_untouched());
    CHECK(state.surrounding_untouched());
    return O;
  }
  template <rule R, class Backend>
  matrix<T> run(matrix<T>& state) const {
    return run<R, Backend>(state, 0, tokens(), tokens());
  }
  // The same values in double.
  operands<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {wide(S),    wide(q),      wide(k),    wide(v), wide(scalars),
            wide(keys), wide(values), wide(beta), wide(a), wide(b)};
  }
};

inline void scale_row(auto row, double by) {
  for (auto& x : row) x = static_cast<std::remove_reference_t<decltype(x)>>(static_cast<double>(x) * by);
}
inline void to_unit_length(auto row) {
  double squares = 0;
  for (const auto x : row) squares += static_cast<double>(x) * static_cast<double>(x);
  scale_row(row, 1 / std::sqrt(squares));
}

// Keys of unit length, decays in (0, 1) and here and there exactly 0 or 1, beta in (0, 2); a and b of a delta
// rule that erases before the decay, so that no rule amplifies.
template <class T>
operands<T> random_operands(index_t tokens, index_t K, index_t V, std::uint64_t seed = 1, placement at = {}) {
  const auto normal = [&](index_t rows, index_t cols) {
    return matrix<T>(mneme_test::random_rows<T>(rows, cols, 0, ++seed).view(), at);
  };
  const auto between = [&](index_t rows, index_t cols, double high) {
    matrix<T> m(rows, cols, at);
    random_stream r(++seed, 3);
    for (index_t t = 0; t < rows; ++t)
      for (T& x : m.view()[t]) x = static_cast<T>(high * r.unit());
    return m;
  };
  operands<T> o{normal(K, V),
                normal(tokens, K),
                normal(tokens, K),
                normal(tokens, V),
                between(tokens, 1, 1),
                between(tokens, K, 1),
                between(tokens, V, 1),
                between(tokens, 1, 2),
                matrix<T>(tokens, K, at),
                matrix<T>(tokens, K, at)};
  for (index_t t = 0; t < tokens; ++t) {
    to_unit_length(o.k.view()[t]);
    const T strength = o.beta.view()[t][0];
    for (index_t i = 0; i < K; ++i) {
      o.a.view()[t][i] = o.k.view()[t][i];
      o.b.view()[t][i] = -strength * o.k.view()[t][i] / T(2);
    }
  }
  for (matrix<T>* m : {&o.scalars, &o.keys, &o.values})
    if (tokens > 6) m->view()[3][0] = T(0), m->view()[5][0] = T(1);
  return o;
}

// max |x - y| / (max |y| + 1e-6), the metric of the specification.
template <class A, class B>
double relative_error(mat_view<const A> x, mat_view<const B> y) {
  REQUIRE(x.rows() == y.rows());
  REQUIRE(x.cols() == y.cols());
  double error = 0, scale = 0;
  for (index_t r = 0; r < x.rows(); ++r)
    for (index_t c = 0; c < x.cols(); ++c) {
      const double d = std::abs(static_cast<double>(x[r][c]) - static_cast<double>(y[r][c]));
      error = d <= error ? error : d;  // NaN stays
      scale = std::max(scale, std::abs(static_cast<double>(y[r][c])));
    }
  return error / (scale + 1e-6);
}
template <class A, class B>
double relative_error(const matrix<A>& x, const matrix<B>& y) {
  return relative_error<A, B>(x.view(), y.view());
}

// f.template operator()<R>() for every rule that the enumerators span.
template <class F>
void for_each_rule(F&& f) {
  const auto with = [&]<decay D, update U>() {
    f.template operator()<rule{D, U, reads::after}>();
    f.template operator()<rule{D, U, reads::before}>();
  };
  const auto with_decay = [&]<decay D>() {
    with.template operator()<D, update::add>();
    with.template operator()<D, update::delta>();
    with.template operator()<D, update::dplr>();
  };
  with_decay.template operator()<decay::none>();
  with_decay.template operator()<decay::scalar>();
  with_decay.template operator()<decay::key>();
  with_decay.template operator()<decay::value>();
}

}  // namespace recurrence_test
