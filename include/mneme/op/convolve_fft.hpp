// SPDX-License-Identifier: Apache-2.0
// Causal convolution of long kernels by Fourier transforms.
#pragma once
#include "../core/context.hpp"
#include "../math/fft.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Y[t, d] = sum_s K[d, s] U[t - s, d] over 0 <= s <= t, s < L
//   U, Y [T, D] (Y may be U)      K [D, L], a kernel per channel, L >= 0
// The convolution view of a memory that is linear and does not change with time; it starts from an empty
// past. Computed in double, three transforms of the next power of two of 2 T - 1 per channel. An error
// relative to the largest terms, not to each output.
template <class T>
void convolve_fft(context& ctx, mat_view<const T> K, mat_view<const T> U, mat_view<T> Y) {
  using complex = std::complex<double>;
  const index_t rows = U.rows(), taps = std::min(K.cols(), rows);
  if (rows == 0) return;
  const index_t n = fft_size(2 * rows - 1);
  context::frame scratch(ctx);
  const auto roots = scratch.row<complex>(n / 2), k = scratch.row<complex>(n), u = scratch.row<complex>(n);
  fft_roots(roots);
  for (index_t d = 0; d < U.cols(); ++d) {
    std::fill(k.begin(), k.end(), complex());
    std::fill(u.begin(), u.end(), complex());
    for (index_t s = 0; s < taps; ++s) k[s] = static_cast<double>(K[d][s]);
    for (index_t t = 0; t < rows; ++t) u[t] = static_cast<double>(U[t][d]);
    fft<double>(roots, k);
    fft<double>(roots, u);
    for (index_t j = 0; j < n; ++j)
      u[j] = {u[j].real() * k[j].real() - u[j].imag() * k[j].imag(),
              u[j].real() * k[j].imag() + u[j].imag() * k[j].real()};
    fft<double>(roots, u, true);
    for (index_t t = 0; t < rows; ++t) Y[t][d] = static_cast<T>(u[t].real() / static_cast<double>(n));
  }
}

}  // namespace mneme::inline MNEME_ABI
