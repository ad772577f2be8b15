// SPDX-License-Identifier: Apache-2.0
// causal_conv on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/causal_conv.hpp"
#include "../dispatch.hpp"

#include <type_traits>

namespace mneme::inline MNEME_ABI {

// Packs run over channels. A slice of channels goes through all rows and carries its past on while it is in
// cache. Every sum takes its taps oldest first: an output has the same bits however calls split the rows.
template <class Arch>
struct kernel<causal_conv, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const causal_conv_taps<T>& taps, mat_view<const T> X, mat_view<T> past,
                  mat_view<T> Y) noexcept {
    constexpr index_t slice = 512;  // channels
    ctx.parallel_for((X.cols() + slice - 1) / slice, [&](index_t i, context& worker) {
      const index_t from = i * slice, count = std::min(slice, X.cols() - from);
      using usual = std::integral_constant<index_t, 4>;  // of most published models: an unrolled loop
      if (taps.w.rows() == usual())
        outputs(worker, usual(), taps, X, past, Y, from, count);
      else
        outputs(worker, taps.w.rows(), taps, X, past, Y, from, count);
      detail::remember_inputs<T>(X, past, from, count);
    });
  }

 private:
  // The wanted rows of the channels [from, from + count).
  template <class Width, class T>
  static void outputs(context& ctx, Width K, const causal_conv_taps<T>& taps, mat_view<const T> X,
                      mat_view<T> past, mat_view<T> Y, index_t from, index_t count) noexcept {
    context::frame scratch(ctx);
    const auto inputs = scratch.row<const T*>(K);  // the rows under the taps
    for (index_t row = 0, t = X.rows() - Y.rows(); t < X.rows(); ++t, ++row) {
      for (index_t j = 0; j < K; ++j) {
        const index_t at = t - (K - 1) + j;
        inputs[j] = (at < 0 ? past[at + K - 1].data() : X[at].data()) + from;
      }
      one_row(K, taps, inputs.data(), from, count, Y[row].data() + from);
    }
  }
  template <class Width, class T>
  static void one_row(Width K, const causal_conv_taps<T>& taps, const T* const* inputs, index_t from,
                      index_t count, T* y) noexcept {
    const T *w = taps.w.data() + from, *bias = taps.bias.size() > 0 ? taps.bias.data() + from : nullptr;
    const index_t stride = taps.w.stride();
    for_packs<T, Arch>(count, [&]<class P>(index_t i) {
      P sum = bias ? simd::load<P>(bias + i) : P(T(0));
      for (index_t j = 0; j < K; ++j)
        sum = simd::fma(simd::load<P>(w + j * stride + i), simd::load<P>(inputs[j] + i), sum);
      simd::store(y + i, taps.silu ? silu(sum) : sum);
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
