// SPDX-License-Identifier: Apache-2.0
// The recurrence of the GRU: what remains once the inputs are projected.
#pragma once
#include "../core/context.hpp"
#include "../core/weight.hpp"
#include "../math/decode.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI {

// For each of T rows, with [ar; az; an] = W h + b and [pr; pz; pn] = P[t]:
//   r, z = sigmoid(pr + ar, pz + az)   n = tanh(pn + r an)   h <- (1 - z) n + z h   y = h
//   P [T, 3 H] the input part of the gates, with its bias
//   W [3 H, H] of any storage type      b [3 H]      h [H] the state, updated
//   Y [R, H] the last R outputs, 0 <= R <= T
// 6 H^2 + 20 H flops and 3 H exponentials per row; reads W once per row.
struct gru_recurrence {};

template <>
struct kernel<gru_recurrence, reference> {
  template <class T>
  static void run(context& ctx, const weight& W, row_view<const T> b, mat_view<const T> P, row_view<T> h,
                  mat_view<T> Y) noexcept {
    const index_t H = h.size(), skip = P.rows() - Y.rows();
    const auto sigmoid_of = [](double x) { return 1 / (1 + std::exp(-x)); };
    context::frame scratch(ctx);
    const auto w = scratch.row<double>(H), a = scratch.row<double>(3 * H);
    for (index_t t = 0; t < P.rows(); ++t) {
      for (index_t g = 0; g < 3 * H; ++g) {
        decode_row<simd::scalar>(W.type(), W.row(g), H, w.data());
        a[g] = static_cast<double>(b[g]);
        for (index_t k = 0; k < H; ++k) a[g] += w[k] * static_cast<double>(h[k]);
      }
      for (index_t j = 0; j < H; ++j) {
        const auto p = [&](index_t gate) { return static_cast<double>(P[t][gate * H + j]); };
        const double r = sigmoid_of(p(0) + a[j]), z = sigmoid_of(p(1) + a[H + j]);
        const double n = std::tanh(p(2) + r * a[2 * H + j]);
        h[j] = static_cast<T>((1 - z) * n + z * static_cast<double>(h[j]));
      }
      if (t >= skip) std::copy(h.begin(), h.end(), Y[t - skip].begin());
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
