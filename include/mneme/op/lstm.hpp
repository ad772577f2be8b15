// SPDX-License-Identifier: Apache-2.0
// The recurrence of the LSTM: what remains once the inputs are projected.
#pragma once
#include "../core/context.hpp"
#include "../core/weight.hpp"
#include "../math/decode.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// For each of T rows, with [zi; zf; zg; zo] = P[t] + W h:
//   i, f, o = sigmoid(zi, zf, zo)   g = tanh(zg)   c <- f c + i g   h <- o tanh(c)   y = h
//   P [T, 4 H] the input part of the gates, biases included      W [4 H, H] of any storage type
//   h, c [H] the state, updated      Y [R, H] the last R outputs, 0 <= R <= T
// 8 H^2 + 25 H flops and 5 H exponentials per row; reads W once per row.
struct lstm_recurrence {};

template <>
struct kernel<lstm_recurrence, reference> {
  template <class T>
  static void run(context& ctx, const weight& W, mat_view<const T> P, row_view<T> h, row_view<T> c,
                  mat_view<T> Y) noexcept {
    const index_t H = h.size(), skip = P.rows() - Y.rows();
    const auto sigmoid_of = [](double x) { return 1 / (1 + std::exp(-x)); };
    context::frame scratch(ctx);
    const auto w = scratch.row<double>(H), z = scratch.row<double>(4 * H);
    for (index_t t = 0; t < P.rows(); ++t) {
      for (index_t n = 0; n < 4 * H; ++n) {
        decode_row<simd::scalar>(W.type(), W.row(n), H, w.data());
        z[n] = static_cast<double>(P[t][n]);
        for (index_t k = 0; k < H; ++k) z[n] += w[k] * static_cast<double>(h[k]);
      }
      for (index_t j = 0; j < H; ++j) {
        const double i = sigmoid_of(z[j]), f = sigmoid_of(z[H + j]), g = std::tanh(z[2 * H + j]),
                     o = sigmoid_of(z[3 * H + j]), cell = f * static_cast<double>(c[j]) + i * g;
        c[j] = static_cast<T>(cell);
        h[j] = static_cast<T>(o * std::tanh(cell));
      }
      if (t >= skip) std::copy(h.begin(), h.end(), Y[t - skip].begin());
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
