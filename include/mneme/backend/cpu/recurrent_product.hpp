// SPDX-License-Identifier: Apache-2.0
// The product that every step of a recurrent cell waits for: its weights times the last output.
#pragma once
#include "../../math/vector.hpp"
#include "matmul.hpp"

namespace mneme::inline MNEME_ABI {

namespace simd {
// The sums of width<P> packs, as one pack. Always inlined, so that the packs stay in registers.
template <std::floating_point T>
T sums(const T* packs) {
  return *packs;
}
#if !defined(MNEME_NO_SIMD)
#if defined(__AVX512F__)
namespace detail {
// haddp of xsimd (8.1 to 14) gives the 16 sums in another order.
template <class P>
[[gnu::always_inline]] inline P sums_of_16(const P* x) {
  const auto folded = [](__m512 a, __m512 b) {  // 128-bit lanes a0 + a2, a1 + a3, b0 + b2, b1 + b3
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const auto transposed = [](__m512 a, __m512 b) {  // in each lane a0 + a2, b0 + b2, a1 + a3, b1 + b3
    return _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
  };
  __m512 lane[4];  // lane L of lane[e]: four partial sums of x[4 L + e]
  for (int e = 0; e < 4; ++e) {
    const __m512 low = folded(x[e], x[4 + e]), high = folded(x[8 + e], x[12 + e]);
    lane[e] = _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }
  const __m512d even = transposed(lane[0], lane[1]), odd = transposed(lane[2], lane[3]);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(even, odd)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd)));
}
}  // namespace detail
#endif
template <class T, class A>
[[gnu::always_inline]] inline batch<T, A> sums(const batch<T, A>* packs) {
#if defined(__AVX512F__)
  if constexpr (detail::is_zmm<batch<T, A>>) return detail::sums_of_16(packs);
#endif
  return xsimd::haddp(packs);
}
#endif
}  // namespace simd

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
    for (auto& s : sum) s = P(T(0));
    for (index_t k = 0; k < whole; k += width) {
      const P in = simd::load<P>(h.data() + k);
      for (index_t j = 0; j < width; ++j) sum[j] = simd::fma(simd::load<P>(w + j * H + k), in, sum[j]);
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
