// SPDX-License-Identifier: Apache-2.0
// The LSTM recurrence on packs.
#pragma once
#include "../../op/lstm.hpp"
#include "recurrent_product.hpp"

namespace mneme::inline MNEME_ABI {

template <class Arch>
struct kernel<lstm_recurrence, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& W, mat_view<const T> P, row_view<T> h, row_view<T> c,
                  mat_view<T> Y) noexcept {
    const index_t H = h.size(), skip = P.rows() - Y.rows();
    context::frame scratch(ctx);
    const auto z = scratch.row<T>(4 * H);
    for (index_t t = 0; t < P.rows(); ++t) {
      recurrent_product<Arch, T>(ctx, W, P[t].data(), h, z);
      gates(H, z.data(), h.data(), c.data());
      if (t >= skip) std::copy(h.begin(), h.end(), Y[t - skip].begin());
    }
  }

 private:
  template <class T>
  [[gnu::flatten]] static void gates(index_t H, const T* z, T* h, T* c) noexcept {
    for_packs<T, Arch>(H, [&]<class P>(index_t j) {
      const P i = sigmoid(simd::load<P>(z + j)), f = sigmoid(simd::load<P>(z + H + j));
      const P g = tanh(simd::load<P>(z + 2 * H + j)), o = sigmoid(simd::load<P>(z + 3 * H + j));
      const P cell = simd::fma(f, simd::load<P>(c + j), i * g);
      simd::store(c + j, cell);
      simd::store(h + j, o * tanh(cell));
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
