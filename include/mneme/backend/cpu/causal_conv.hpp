// SPDX-License-Identifier: Apache-2.0
// causal_conv on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/causal_conv.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Packs run over channels. Every sum takes its taps oldest first: an output has the same bits however calls
// split the rows.
template <class Arch>
struct kernel<causal_conv, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const causal_conv_taps<T>& taps, mat_view<const T> X, mat_view<T> past,
                  mat_view<T> Y) noexcept {
    if (X.rows() == 0) return;
    constexpr index_t slice = 512;  // channels
    ctx.parallel_for((X.cols() + slice - 1) / slice, [&](index_t i, context& worker) {
      const index_t from = i * slice, count = std::min(slice, X.cols() - from);
      constexpr index_t usual = 4;  // taps of most published models
      if (taps.w.rows() == usual)
        return taps.silu ? window<usual, true>(taps, X, past, Y, from, count)
                         : window<usual, false>(taps, X, past, Y, from, count);
      outputs(worker, taps, X, past, Y, from, count);
      detail::remember_inputs<T>(X, past, from, count);
    });
  }

 private:
  // The channels [from, from + count): the inputs under K taps stay in registers while some rows go by.
  template <index_t K, bool Silu, class T>
  [[gnu::flatten]] static void window(const causal_conv_taps<T>& taps, mat_view<const T> X, mat_view<T> past,
                                      mat_view<T> Y, index_t from, index_t count) noexcept {
    constexpr index_t block = 8;  // rows: as many streams as come from memory well
    const index_t skip = X.rows() - Y.rows();
    index_t t = skip;
    do {
      const index_t rows = std::min(block, X.rows() - t);
      const bool last = t + rows == X.rows() && past.rows() > 0;
      const T* before[K];
      for (index_t j = 0; j < K - 1; ++j) {
        const index_t at = t - (K - 1) + j;
        before[j] = (at < 0 ? past[at + K - 1].data() : X[at].data()) + from;
      }
      const T* const x = X.data() + t * X.stride() + from;
      T* const y = rows > 0 ? Y[t - skip].data() + from : nullptr;
      for_packs<T, Arch>(count, [&]<class P>(index_t i) {
        P w[K], in[K];
        unrolled<K>([&](index_t j) { w[j] = simd::load<P>(taps.w.data() + j * taps.w.stride() + from + i); });
        unrolled<K - 1>([&](index_t j) { in[j + 1] = simd::load<P>(before[j] + i); });
        const P bias = taps.bias.size() > 0 ? simd::load<P>(taps.bias.data() + from + i) : P(T(0));
        for (index_t r = 0; r < rows; ++r) {
          unrolled<K - 1>([&](index_t j) { in[j] = in[j + 1]; });
          in[K - 1] = simd::load<P>(x + r * X.stride() + i);
          P sum = bias;
          unrolled<K>([&](index_t j) { sum = simd::fma(w[j], in[j], sum); });
          if constexpr (Silu) sum = silu(sum);
          simd::store(y + r * Y.stride() + i, sum);
        }
        if (last) unrolled<K - 1>([&](index_t j) { simd::store(past[j].data() + from + i, in[j + 1]); });
      });
      t += rows;
    } while (t < X.rows());
  }
  // The same for any number of taps, without the past.
  template <class T>
  static void outputs(context& ctx, const causal_conv_taps<T>& taps, mat_view<const T> X, mat_view<T> past,
                      mat_view<T> Y, index_t from, index_t count) noexcept {
    const index_t K = taps.w.rows();
    context::frame scratch(ctx);
    const auto inputs = scratch.row<const T*>(K);  // the rows under the taps
    for (index_t row = 0, t = X.rows() - Y.rows(); t < X.rows(); ++t, ++row) {
      for (index_t j = 0; j < K; ++j) {
        const index_t at = t - (K - 1) + j;
        inputs[j] = (at < 0 ? past[at + K - 1].data() : X[at].data()) + from;
      }
      one_row(taps, inputs.data(), from, count, Y[row].data() + from);
    }
  }
  template <class T>
  static void one_row(const causal_conv_taps<T>& taps, const T* const* inputs, index_t from, index_t count,
                      T* y) noexcept {
    const T *w = taps.w.data() + from, *bias = taps.bias.size() > 0 ? taps.bias.data() + from : nullptr;
    const index_t K = taps.w.rows(), stride = taps.w.stride();
    for_packs<T, Arch>(count, [&]<class P>(index_t i) {
      P sum = bias ? simd::load<P>(bias + i) : P(T(0));
      for (index_t j = 0; j < K; ++j)
        sum = simd::fma(simd::load<P>(w + j * stride + i), simd::load<P>(inputs[j] + i), sum);
      simd::store(y + i, taps.silu ? silu(sum) : sum);
    });
  }
};

}  // namespace mneme::inline MNEME_ABI
