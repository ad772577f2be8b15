// SPDX-License-Identifier: Apache-2.0
// The product that every step of a recurrent cell waits for: its weights times the last output.
#pragma once
#include "../../math/vector.hpp"
#include "matmul.hpp"

namespace mneme::inline MNEME_ABI {

// z = p + W h of a weight stored as T. One pack of outputs at a time: their partial sums stay in registers
// and are added across lanes together, which matters most where H is small.
template <class Arch, class T>
void recurrent_product(const T* W, const T* p, row_view<const T> h, row_view<T> z) noexcept {
  using P = simd::pack<T, Arch>;
  constexpr index_t width = simd::width<P>;
  const index_t H = h.size(), N = z.size(), whole = H / width * width;
  index_t n = 0;
  for (; n + width <= N; n += width) {
    const T* w = W + n * H;
    P sum[static_cast<std::size_t>(width)];
    unrolled<width>([&](index_t j) { sum[j] = P(T(0)); });
    for (index_t k = 0; k < whole; k += width) {
      const P in = simd::load<P>(h.data() + k);
      unrolled<width>([&](index_t j) { sum[j] = simd::fma(simd::load<P>(w + j * H + k), in, sum[j]); });
    }
    simd::store(z.data() + n, simd::load<P>(p + n) + simd::sums(sum));
    for (index_t k = whole; k < H; ++k)
      for (index_t j = 0; j < width; ++j) z[n + j] = simd::fma(w[j * H + k], h[k], z[n + j]);
  }
  for (; n < N; ++n) z[n] = p[n] + dot<Arch>(H, W + n * H, h.data());
}
// The same with a weight of any storage type.      W [N, H]      p, z [N]      h [H]
template <class Arch, class T>
void recurrent_product(context& ctx, const weight& W, const T* p, row_view<const T> h,
                       row_view<T> z) noexcept {
  if (W.type() == dtype_of<T>) return recurrent_product<Arch>(data<T>(W), p, h, z);
  kernel<matmul, cpu<Arch>>::template run<T>(ctx, W, mat_view<const T>(h), mat_view<T>(z));
  axpy<Arch>(z.size(), T(1), p, z.data());
}

}  // namespace mneme::inline MNEME_ABI
