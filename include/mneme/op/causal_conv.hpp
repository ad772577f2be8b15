// SPDX-License-Identifier: Apache-2.0
// causal_conv: a short convolution over time, channel by channel.
#pragma once
#include "../core/context.hpp"

#include <algorithm>
#include <cmath>

namespace mneme::inline MNEME_ABI {

// y_t[c] = act(bias[c] + sum_j w[j, c] x_t-K+1+j[c]), j = 0 .. K - 1; act is silu or the identity
// Tap K - 1 multiplies the current input. 2 K C flops per token.
struct causal_conv {};

template <class T>
struct causal_conv_taps {
  mat_view<const T> w;          // [K, C]: the transpose of checkpoints, so that packs run over channels
  row_view<const T> bias = {};  // [C], or empty: 0
  bool silu = false;
};

namespace detail {
// past <- the last inputs after X, of the channels [from, from + count).
template <class T>
void remember_inputs(mat_view<const T> X, mat_view<T> past, index_t from, index_t count) noexcept {
  if (X.rows() == 0) return;
  for (index_t i = 0; i < past.rows(); ++i) {
    const index_t at = i + X.rows() - past.rows();
    const T* source = at < 0 ? past[i + X.rows()].data() : X[at].data();
    std::copy_n(source + from, count, past[i].data() + from);
  }
}
}  // namespace detail

// past [K - 1, C], the inputs before X, oldest first, is carried on; Y [<= T, C] receives the last Y.rows()
// outputs.
template <>
struct kernel<causal_conv, reference> {
  template <class T>
  static void run(context&, const causal_conv_taps<T>& taps, mat_view<const T> X, mat_view<T> past,
                  mat_view<T> Y) noexcept {
    const index_t K = taps.w.rows(), skip = X.rows() - Y.rows();
    for (index_t t = skip; t < X.rows(); ++t)
      for (index_t c = 0; c < X.cols(); ++c) {
        double y = taps.bias.size() > 0 ? static_cast<double>(taps.bias[c]) : 0;
        for (index_t j = 0; j < K; ++j) {
          const index_t at = t - K + 1 + j;
          const T x = at < 0 ? past[at + K - 1][c] : X[at][c];
          y += static_cast<double>(taps.w[j][c]) * static_cast<double>(x);
        }
        Y[t - skip][c] = static_cast<T>(taps.silu ? y / (1 + std::exp(-y)) : y);
      }
    detail::remember_inputs<T>(X, past, 0, X.cols());
  }
};

}  // namespace mneme::inline MNEME_ABI
