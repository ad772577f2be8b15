// SPDX-License-Identifier: Apache-2.0
// Golden values of one rule of the recurrence family: q, k, v, gk, beta, a, b [T, H, .]; s0, s1 [H, K, V].
#pragma once
#include <mneme/backend/cpu/recurrence.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"

namespace golden_recurrence {

using namespace mneme;
using mneme_test::golden;
using mneme_test::golden_matrix;

// finish(file, case, operands, O) may add to the outputs what is not part of the rule.
template <rule R, class T, class F>
void meets(const char* op, double bound, F&& finish) {
  const golden file(op);
  for (const std::string& name : file.cases()) {
    CAPTURE(op, name);
    const auto rows = [&](const char* tensor) {
      if (!file.has(name, tensor)) return mneme_test::matrix<T>();
      const auto shape = file.shape(name, tensor);
      return golden_matrix<T>(file, name, tensor, shape[1] * (shape.size() > 2 ? shape[2] : 1));
    };
    auto q = rows("q"), alpha = rows("gk");
    const auto k = rows("k"), v = rows("v"), beta = rows("beta"), a = rows("a"), b = rows("b");
    for (index_t t = 0; t < q.rows(); ++t)
      for (T& x : q.view()[t]) x *= static_cast<T>(file.value(name, "scale"));
    for (index_t t = 0; t < alpha.rows(); ++t)
      for (T& x : alpha.view()[t]) x = std::exp(x);
    auto S = golden_matrix<T>(file, name, "s0");
    mneme_test::matrix<T> O(v.rows(), v.cols());
    const recurrence_rows<T> in{.q = q, .k = k, .v = v, .alpha = alpha, .beta = beta, .a = a, .b = b};
    context ctx;
    run_heads<R, native>(ctx, file.shape(name, "v")[1], file.shape(name, "k")[1], S.view().data(), in,
                         O.view());
    finish(file, name, in, O.view());
    const auto expected = golden_matrix<double>(file, name, "o", O.cols());
    CHECK(mneme_test::golden_error<T>(O, expected) <= bound);
    CHECK(mneme_test::golden_error<T>(S, golden_matrix<double>(file, name, "s1")) <= bound);
  }
}
template <rule R, class T>
void meets(const char* op, double bound) {
  meets<R, T>(op, bound, [](const auto&...) {});
}

// The tensors of a layer from a golden case, by their checkpoint names.
template <class Params>
Params params_of(const golden& file, const std::string& name) {
  Params p;
  Params::fields(
      [&](std::string_view tensor, weight& w) { w = mneme_test::golden_weight(file, name, tensor); }, p);
  return p;
}

}  // namespace golden_recurrence
