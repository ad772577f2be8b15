// SPDX-License-Identifier: Apache-2.0
// Packs from and to elements of type bfloat16.
#pragma once
#include "../core/bfloat16.hpp"
#include "simd.hpp"

namespace mneme::inline MNEME_ABI::simd {

// Any alignment; an element has the same bits whatever pack it is in.
template <class P>
P load(const bfloat16* p) {
  return load_bf16<P>(p);
}

namespace detail {
#if defined(__AVX512BW__) && !defined(MNEME_NO_SIMD)
// One load and two shuffles: every element into an upper half, zeros into the lower.
template <class P>
[[gnu::always_inline]] inline void load_32_bf16(const bfloat16* p, P& low, P& high) noexcept {
  const __m512i x = _mm512_loadu_si512(p), step = _mm512_set1_epi32(0x10001),
                pairs = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                first = _mm512_or_si512(pairs, _mm512_slli_epi32(pairs, 16)),
                second = _mm512_or_si512(first, _mm512_slli_epi32(step, 4));
  low = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, first, x));
  high = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, second, x));
}
#endif
// Without an instruction for it: to the nearest in integers, then, where there are any, NaN and what is tiny.
#if defined(__AVX512DQ__) && !defined(MNEME_NO_SIMD)
inline void store_16_bf16(bfloat16* p, __m512 x) noexcept {
#if defined(__AVX512BF16__)
  const __m256bh rounded = _mm512_cvtneps_pbh(x);
  std::memcpy(&p->bits, &rounded, sizeof rounded);
#else
  constexpr int nans = 0x81, tiny = 0x20;  // classes of floats
  const __m512i u = _mm512_castps_si512(x), upper = _mm512_srli_epi32(u, 16),
                odd = _mm512_and_si512(upper, _mm512_set1_epi32(1)),
                raised = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(raised, odd), 16);
  if (_mm512_fpclass_ps_mask(x, nans | tiny) != 0) [[unlikely]] {
    rounded = _mm512_mask_or_epi32(rounded, _mm512_fpclass_ps_mask(x, nans), upper, _mm512_set1_epi32(0x40));
    rounded =
        _mm512_mask_and_epi32(rounded, _mm512_fpclass_ps_mask(x, tiny), upper, _mm512_set1_epi32(0x8000));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
#endif
}
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
inline void store_8_bf16(bfloat16* p, __m256 x) noexcept {
  const __m256i u = _mm256_castps_si256(x), upper = _mm256_srli_epi32(u, 16),
                odd = _mm256_and_si256(upper, _mm256_set1_epi32(1)),
                raised = _mm256_add_epi32(u, _mm256_set1_epi32(0x7fff));
  __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(raised, odd), 16);
  const __m256 sign = _mm256_set1_ps(-0.0f), size = _mm256_andnot_ps(sign, x),
               other = _mm256_cmp_ps(size, _mm256_set1_ps(0x1p-126f), _CMP_NGE_UQ);
  if (_mm256_movemask_ps(other) != 0) [[unlikely]] {
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)),
                  quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40)),
                  zero = _mm256_and_si256(upper, _mm256_set1_epi32(0x8000));
    rounded = _mm256_blendv_epi8(rounded, zero, _mm256_castps_si256(other));
    rounded = _mm256_blendv_epi8(rounded, quiet, nan);
  }
  const __m128i low = _mm256_castsi256_si128(rounded), high = _mm256_extracti128_si256(rounded, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(low, high));
}
#endif
}  // namespace detail

template <class P>
void store(bfloat16* p, P x) {
#if defined(__AVX512DQ__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>) return detail::store_16_bf16(p, x);
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_ymm<P>) return detail::store_8_bf16(p, x);
#endif
  element<P> lane[static_cast<std::size_t>(width<P>)];
  simd::store(lane, x);
  for (index_t i = 0; i < width<P>; ++i) p[i] = bfloat16(lane[i]);
}
// N packs, one behind the other: of bfloat16 two at a time.
template <index_t N, class P, class Stored>
[[gnu::always_inline]] inline void load(const Stored* p, P* x) noexcept {
#if defined(__AVX512BW__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P> && std::is_same_v<Stored, bfloat16> && N % 2 == 0) {
    unrolled<N / 2>([&](index_t n) { detail::load_32_bf16(p + 32 * n, x[2 * n], x[2 * n + 1]); });
    return;
  }
#endif
  unrolled<N>([&](index_t n) { x[n] = simd::load<P>(p + n * width<P>); });
}
template <index_t N, class P, class Stored>
[[gnu::always_inline]] inline void store(Stored* p, const P* x) noexcept {
#if defined(__AVX512BF16__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P> && std::is_same_v<Stored, bfloat16> && N % 2 == 0) {
    unrolled<N / 2>([&](index_t n) {
      const __m512bh rounded = _mm512_cvtne2ps_pbh(x[2 * n + 1], x[2 * n]);
      std::memcpy(&p[32 * n].bits, &rounded, sizeof rounded);
    });
    return;
  }
#endif
  unrolled<N>([&](index_t n) { simd::store(p + n * width<P>, x[n]); });
}

}  // namespace mneme::inline MNEME_ABI::simd
