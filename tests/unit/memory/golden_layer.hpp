// SPDX-License-Identifier: Apache-2.0
// Whole layers against golden values: weights under the names of their checkpoints, input x, output y.
#pragma once
#include <mneme/core/fields.hpp>
#include <mneme/core/scan.hpp>

#include "golden_tensors.hpp"

namespace mneme_test {

// The layer of a case. A tensor that the case lacks stays empty.
template <class M>
M golden_layer(const golden& file, const std::string& in_case, const typename M::config& c) {
  typename M::params p;
  mneme::visit_fields(
      [&](const mneme::field_path& at, mneme::weight& w) { w = golden_weight(file, in_case, at.text()); }, p);
  return M(c, std::move(p));
}

// Error of the outputs of x, which `s` takes in.
template <class M>
double golden_output_error(const golden& file, const std::string& in_case, const M& m, typename M::state& s) {
  using T = typename M::scalar;
  const auto X = golden_matrix<T>(file, in_case, "x");
  matrix<T> Y(X.rows(), m.d_out());
  mneme::context ctx;
  mneme::scan(m, ctx, s, X, Y.view());
  return golden_error<T>(Y.view(), golden_matrix<double>(file, in_case, "y"));
}

// Error of a part of a state.
template <class T>
double golden_state_error(const golden& file, const std::string& in_case, const char* name,
                          const mneme::buffer<T>& got) {
  const auto expected = golden_matrix<double>(file, in_case, name);
  return golden_error<T>({got.data(), expected.rows(), expected.cols()}, expected);
}

inline index_t golden_number(const golden& file, const std::string& in_case, const char* flag) {
  return index_t{std::stoi(file.flag(in_case, flag))};
}

}  // namespace mneme_test
