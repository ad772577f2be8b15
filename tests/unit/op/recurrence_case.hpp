// SPDX-License-Identifier: Apache-2.0
// Operands of the gated linear recurrence for its tests. Rules are values here and kernels pointers, so that
// nothing but kernels is compiled once per rule.
#pragma once
#include <mneme/backend/cpu/recurrence.hpp>

#include "op_laws.hpp"

#include <cmath>

namespace recurrence_test {

using namespace mneme;
using namespace mneme_test;

// Every rule and backend has kernels of this signature.
template <class T>
using recurrence_kernel = kernel_of<recurrence<rules::linear_attention>, T>;

// All operands that any rule may ask for; rows of one head.
template <class T>
struct operands {
  matrix<T> S, q, k, v, scalars, keys, values, beta, a, b;  // scalars, keys, values: the decay of that kind

  index_t tokens() const { return k.rows(); }
  // What rule r reads of the tokens [from, to), of which the last `outs` are read out.
  recurrence_rows<T> rows(rule r, index_t from, index_t to, index_t outs) const {
    const auto of = [&](const matrix<T>& m) { return m.view().range(from, to); };
    recurrence_rows<T> in{.q = q.view().range(to - outs, to), .k = of(k), .v = of(v)};
    if (r.forget == decay::scalar) in.alpha = of(scalars);
    if (r.forget == decay::key) in.alpha = of(keys);
    if (r.forget == decay::value) in.alpha = of(values);
    if (r.write == update::delta) in.beta = of(beta);
    if (r.write == update::dplr) in.a = of(a), in.b = of(b);
    return in;
  }
  // A kernel of rule r; the state is S.
  op_run<T> with(rule r, recurrence_kernel<T> run, placement at = {}) const {
    return [=, this](tensors<T>& state, index_t from, index_t to, index_t outs) {
      context ctx;
      matrix<T> O(outs, v.cols(), at);
      run(ctx, state[0].view(), rows(r, from, to, outs), O.view());
      return O;
    };
  }
  // All tokens, from S.
  op_result<T> run(rule r, recurrence_kernel<T> kernel) const {
    return result_of<T>(with(r, kernel), {S}, tokens(), tokens());
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
    return matrix<T>(random_rows<T>(rows, cols, 0, ++seed).view(), at);
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
template <class A>
double relative_error(const matrix<A>& X, const matrix<double>& Y) {
  double error = 0, scale = 0;
  for (index_t r = 0; r < Y.rows(); ++r)
    for (index_t c = 0; c < Y.cols(); ++c) {
      const double y = Y.view()[r][c], d = std::abs(static_cast<double>(X.view()[r][c]) - y);
      error = d <= error ? error : d;  // NaN stays
      scale = std::max(scale, std::abs(y));
    }
  return error / (scale + 1e-6);
}
// A budget of the specification as a tolerance.
inline tolerance within(double budget) { return {.eps = budget / tolerance::c, .rows = 0, .width = 1}; }

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
