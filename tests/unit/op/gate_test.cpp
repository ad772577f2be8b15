// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/gate.hpp>

#include "catch.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

// In place: the state is u, then y.
template <class T>
op_run<T> gated_rows(const matrix<T>& G, kernel_of<silu_gate, T> run) {
  return [=, &G](tensors<T>& state, index_t, index_t, index_t) {
    run(G, state[0], state[0].view());
    return matrix<T>(0, 0);
  };
}
template <class T>
void gates_agree_with_reference(index_t D) {
  const matrix<T> G(random_rows<T>(3, D, 0, 5).view(), {.gap = 2, .shift = 1}),
      U(random_rows<T>(3, D, 0, 6).view(), ugly);
  const matrix<double> wide = widened<T>(G.view());
  const auto expected =
      result_of<double>(gated_rows(wide, reference_of<silu_gate, double>), {widened<T>(U.view())}, 3, 0);
  const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = 1};
  for (const auto& [arch, run] : kernels_of<silu_gate, T>()) {
    CAPTURE(arch, D, sizeof(T));
    CHECK(backend_fault(gated_rows(G, run), {U}, 3, 0, expected, allowed) == "");
  }
}

}  // namespace

TEST_CASE("silu_gate agrees with its reference", "[L16][silu_gate]") {
  for (const index_t D : {1, 7, 15, 16, 17, 37}) {
    gates_agree_with_reference<float>(D);
    gates_agree_with_reference<double>(D);
  }
}
