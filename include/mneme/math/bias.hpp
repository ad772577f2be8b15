// SPDX-License-Identifier: Apache-2.0
// A stored row added to every row of a matrix.
#pragma once
#include "../core/context.hpp"
#include "../core/weight.hpp"
#include "decode.hpp"
#include "vector.hpp"

namespace mneme::inline MNEME_ABI {

// Y[r] += b        b [D] of any storage type      Y [R, D]
template <class Arch, class T>
void add_bias(context& ctx, const weight& b, mat_view<T> Y) {
  context::frame scratch(ctx);
  const T* row = data<T>(b);
  if (b.type() != dtype_of<T>) {
    const auto decoded = scratch.row<T>(Y.cols());
    decode_row<Arch>(b.type(), b.data(), Y.cols(), decoded.data());
    row = decoded.data();
  }
  for (index_t r = 0; r < Y.rows(); ++r) axpy<Arch>(Y.cols(), T(1), row, Y[r].data());
}

}  // namespace mneme::inline MNEME_ABI
