// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/rms_norm.hpp>
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

template <class T>
op_run<T> rows_of(const matrix<T>& X, const weight& w, kernel_of<rms_normalise, T> run) {
  return [=, &X](tensors<T>&, index_t from, index_t to, index_t) {
    matrix<T> Y(to - from, X.cols(), {.gap = 2, .shift = 1});
    run(w, 1e-5, X.view().range(from, to), Y.view());
    return Y;
  };
}
template <class T>
void agrees_with_reference(index_t D) {
  const weight w = uniform_weight({D}, 1, random_stream(1, 5));
  const matrix<T> X(random_rows<T>(7, D, 0, 8).view(), ugly);
  const matrix<double> wide = widened<T>(X.view());
  const auto expected = result_of<double>(rows_of(wide, w, reference_of<rms_normalise, double>), {}, 7, 7);
  const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = D};
  for (const auto& [arch, run] : kernels_of<rms_normalise, T>()) {
    CAPTURE(arch, D, sizeof(T));
    CHECK(backend_fault(rows_of(X, w, run), {}, 7, 7, expected, allowed) == "");
  }
}

}  // namespace

TEST_CASE("rms_normalise agrees with its reference", "[L16][rms_normalise]") {
  for (const index_t D : {1, 5, 15, 16, 17, 33, 67, 96}) {
    agrees_with_reference<float>(D);
    agrees_with_reference<double>(D);
  }
}
