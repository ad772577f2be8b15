// SPDX-License-Identifier: Apache-2.0
// What a memory answers from its empty past.
#pragma once
#include <mneme/core/scan.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

namespace mneme_test {

// All outputs of X, into misaligned rows with poison between them.
template <class M>
matrix<mneme::scalar_t<M>> outputs(const M& m, mneme::mat_in<M> X) {
  mneme::context ctx;
  auto s = m.init();
  matrix<mneme::scalar_t<M>> Y(X.rows(), m.d_out(), ugly);
  mneme::scan(m, ctx, s, X, Y.view());
  CHECK(Y.surrounding_untouched());
  return Y;
}

}  // namespace mneme_test
