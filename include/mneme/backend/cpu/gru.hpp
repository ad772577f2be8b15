// SPDX-License-Identifier: Apache-2.0
// The GRU recurrence on packs.
#pragma once
#include "../../op/gru.hpp"
#include "recurrent_product.hpp"

namespace mneme::inline MNEME_ABI {

template <class Arch>
struct kernel<gru_recurrence, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& W, row_view<const T> b, mat_view<const T> P, row_view<T> h,
                  mat_view<T> Y) noexcept {
    const index_t H = h.size(), skip = P.rows() - Y.rows();
    context::frame scratch(ctx);
    const auto a = scratch.row<T>(3 * H);
    for (index_t t = 0; t < P.rows(); ++t) {
      recurrent_product<Arch, T>(ctx, W, b.data(), h, a);
      gates(H, P[t].data(), a.data(), h.data());
      if (t >= skip) std::copy(h.begin(), h.end(), Y[t - skip].begin());
    }
  }

 private:
  template <class T>
  [[gnu::flatten]] static void gates(index_t H, const T* p, const T* a, T* h) noexcept {
    for_packs<T, Arch>(H, [&]<class P>(index_t j) {
      const P r = sigmoid(simd::load<P>(p + j) + simd::load<P>(a + j));
      const P z = sigmoid(simd::load<P>(p + H + j) + simd::load<P>(a + H + j));
      const P n = tanh(simd::fma(r, simd::load<P>(a + 2 * H + j), simd::load<P>(p + 2 * H + j)));
      simd::store(h + j, simd::fma(z, simd::load<P>(h + j), (P(T(1)) - z) * n));  // z = 1 keeps h to the bit
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
