// SPDX-License-Identifier: Apache-2.0
// Sums across the lanes of packs, of one or of several at a time.
#pragma once
#include "simd.hpp"

namespace mneme::inline MNEME_ABI::simd {

// One order for all of them, on every architecture: the upper half of the lanes is added to the lower until
// one is left. So a sum has the same bits whether it was formed alone or beside others.
namespace detail {
template <class T>
T folded(T* lane, index_t n) {
  while (n > 1) {
    n /= 2;
    for (index_t i = 0; i < n; ++i) lane[i] += lane[i + n];
  }
  return lane[0];
}
#if !defined(MNEME_NO_SIMD) && defined(__x86_64__)
inline float folded(__m128 x) {
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
#endif
#if !defined(MNEME_NO_SIMD) && defined(__AVX2__)
inline float folded(__m256 x) {
  return folded(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
// Quarters of a and b side by side: a's half below, b's above.
[[gnu::always_inline]] inline __m256 folded(__m256 a, __m256 b) {
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
// In each quarter of four lanes the sums of that quarter of a, b, c, d.
[[gnu::always_inline]] inline __m256 in_quarters(__m256 a, __m256 b, __m256 c, __m256 d) {
  const auto pairs = [](__m256 x, __m256 y) {
    return _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y)));
  };
  const __m256d ab = pairs(a, b), cd = pairs(c, d);
  return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
                       _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
}
#endif
#if !defined(MNEME_NO_SIMD) && defined(__AVX512F__)
inline float folded(__m512 x) {
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
  return folded(_mm256_add_ps(_mm512_castps512_ps256(x), upper));
}
// The halves of a and b, then the quarters of four, side by side.
[[gnu::always_inline]] inline __m512 folded(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
[[gnu::always_inline]] inline __m512 folded(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = folded(a, b), cd = folded(c, d);
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}
[[gnu::always_inline]] inline __m512 in_quarters(__m512 a, __m512 b, __m512 c, __m512 d) {
  const auto pairs = [](__m512 x, __m512 y) {
    return _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y)));
  };
  const __m512d ab = pairs(a, b), cd = pairs(c, d);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}
#endif
}  // namespace detail

// The sum of x.
template <class P>
element<P> sum(P x) {
  if constexpr (one_lane<P>) {
    return x;
  } else {
#if !defined(MNEME_NO_SIMD) && defined(__x86_64__)
    if constexpr (std::is_same_v<element<P>, float>) return detail::folded(typename P::register_type(x));
#endif
    element<P> lane[static_cast<std::size_t>(width<P>)];
    simd::store(lane, x);
    return detail::folded(lane, width<P>);
  }
}

// out[j] = sum(x[j]), j < 4.
template <class P>
[[gnu::always_inline]] inline void sums_of_four(const P* x, element<P>* out) {
#if !defined(MNEME_NO_SIMD) && defined(__AVX512F__)
  if constexpr (detail::is_zmm<P>) {
    __m512 s = detail::folded(x[0], x[1], x[2], x[3]);  // quarter j: four partial sums of x[j]
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, s)));
    return;
  }
#endif
  for (int j = 0; j < 4; ++j) out[j] = sum(x[j]);
}

// Lane j is sum(x[j]), j < width<P>.
template <class P>
[[gnu::always_inline]] inline P sums(const P* x) {
#if !defined(MNEME_NO_SIMD) && defined(__AVX512F__)
  if constexpr (detail::is_zmm<P>) {
    const auto quarters = [x](int e) { return detail::folded(x[e], x[4 + e], x[8 + e], x[12 + e]); };
    return detail::in_quarters(quarters(0), quarters(1), quarters(2), quarters(3));
  }
#endif
#if !defined(MNEME_NO_SIMD) && defined(__AVX2__)
  if constexpr (detail::is_ymm<P>) {
    const auto halves = [x](int e) { return detail::folded(x[e], x[4 + e]); };
    return detail::in_quarters(halves(0), halves(1), halves(2), halves(3));
  }
#endif
  element<P> lane[static_cast<std::size_t>(width<P>)];
  for (index_t j = 0; j < width<P>; ++j) lane[j] = sum(x[j]);
  return simd::load<P>(lane);
}

// Lane j is sum(x(j)), j < width<P>; x is called once for each, in an order that keeps few packs waiting.
template <class P, class F>
[[gnu::always_inline]] inline P sums_from(F&& x) {
#if !defined(MNEME_NO_SIMD) && defined(__AVX512F__)
  if constexpr (detail::is_zmm<P>) {
    __m512 quarters[4];
#pragma GCC unroll 1
    for (index_t e = 0; e < 4; ++e) {
      const P a = x(e), b = x(4 + e), c = x(8 + e), d = x(12 + e);
      quarters[e] = detail::folded(a, b, c, d);
    }
    return detail::in_quarters(quarters[0], quarters[1], quarters[2], quarters[3]);
  }
#endif
  P all[static_cast<std::size_t>(width<P>)];
  for (index_t j = 0; j < width<P>; ++j) all[j] = x(j);
  return sums(all);
}

}  // namespace mneme::inline MNEME_ABI::simd
