// SPDX-License-Identifier: Apache-2.0
// The one shim over xsimd (8.1 to 14): packs of T for an architecture, one-lane packs included.
#pragma once
#include "../core/dtype.hpp"

#include <bit>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <type_traits>

#if !defined(MNEME_NO_SIMD)
#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 reports the deliberately undefined registers of its own intrinsics (bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <xsimd/xsimd.hpp>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "mneme keeps NaN and infinity apart: build without -ffast-math / -ffinite-math-only"
#endif

namespace mneme::inline MNEME_ABI {

// f(n) for n in [0, N), unrolled at every optimisation level: what f indexes by n lives in registers.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"  // said where sanitisers keep it from unrolling
#endif
template <index_t N, class F>
[[gnu::always_inline]] inline void unrolled(F&& f) noexcept {
#pragma GCC unroll 16
  for (index_t n = 0; n < N; ++n) f(n);
}
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

namespace simd {

// Architecture tag of plain C++: a pack is one element. It also serves the tail of every vector loop.
struct scalar {};

#if defined(MNEME_NO_SIMD)
using native = scalar;
#else
using native = xsimd::default_arch;
#endif

namespace detail {
template <class T, class Arch>
struct pack_of {
#if !defined(MNEME_NO_SIMD)
  using type = xsimd::batch<T, Arch>;
#endif
};
template <class T>
struct pack_of<T, scalar> {
  using type = T;
};
template <class P>
struct traits {
  using element = typename P::value_type;
  static constexpr index_t width = static_cast<index_t>(P::size);
};
template <std::floating_point T>
struct traits<T> {
  using element = T;
  static constexpr index_t width = 1;
};
}  // namespace detail

template <class T, class Arch>
using pack = typename detail::pack_of<T, Arch>::type;
template <class P>
using element = typename detail::traits<P>::element;
template <class P>
inline constexpr index_t width = detail::traits<P>::width;  // lanes
template <class P>
concept one_lane = std::floating_point<P>;

// ---- memory: any alignment ----
template <class P>
P load(const element<P>* p) {
  if constexpr (one_lane<P>)
    return *p;
  else
    return P::load_unaligned(p);
}
template <class P>
void store(element<P>* p, P x) {
  if constexpr (one_lane<P>)
    *p = x;
  else
    x.store_unaligned(p);
}
// x, in a register. Of a pack that enters several products gcc else loads a copy for each of them, and a core
// has fewer loads than multiply-adds to spare.
template <class P>
[[gnu::always_inline]] inline P held(P x) {
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__) && !defined(MNEME_NO_SIMD)
  if constexpr (width<P> * static_cast<index_t>(sizeof(element<P>)) == 64) {
    typename P::register_type r = x;
    asm("" : "+v"(r));
    return P(r);
  }
#endif
  return x;
}
// ---- arithmetic beyond + - * / ----
// fma(a, b, c) = a * b + c, fused where the unit may fuse. select(condition, a, b) = condition ? a : b, lane
// by lane. round: to the nearest integer, ties to even. scale_by_power_of_two(x, n) = x 2^n for integers n
// in [-126, 127]. max_of goes across the lanes.
template <std::floating_point T>
T fma(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}
template <std::floating_point T>
T max(T a, T b) {
  return a > b ? a : b;
}
template <std::floating_point T>
T min(T a, T b) {
  return a < b ? a : b;
}
template <std::floating_point T>
T abs(T a) {
  return std::fabs(a);
}
template <std::floating_point T>
T sqrt(T a) {
  return std::sqrt(a);
}
template <std::floating_point T>
T select(bool condition, T a, T b) {
  return condition ? a : b;
}
template <std::floating_point T>
T round(T x) {
  return std::nearbyint(x);
}
template <std::floating_point T>
T scale_by_power_of_two(T x, T n) {
  using bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr int bias = std::numeric_limits<T>::max_exponent - 1, shift = std::numeric_limits<T>::digits - 1;
  return x * std::bit_cast<T>(static_cast<bits>(static_cast<std::int64_t>(n) + bias) << shift);
}
template <std::floating_point T>
T max_of(T x) {
  return x;
}
namespace precise {  // double: the libraries' own functions
inline double exp(double x) { return std::exp(x); }
inline double tanh(double x) { return std::tanh(x); }
}  // namespace precise

#if !defined(MNEME_NO_SIMD)
template <class T, class A>
using batch = xsimd::batch<T, A>;

template <class T, class A>
batch<T, A> fma(batch<T, A> a, batch<T, A> b, batch<T, A> c) {
#if defined(__FMA__)
  // xsimd multiplies and adds for architectures without FMA, and 8.1 for AVX-512 too; a compiler that may
  // fuse would then do so here and not there, and one sum would have different bits in two code paths.
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && batch<T, A>::size == 16) return _mm512_fmadd_ps(a, b, c);
  if constexpr (std::is_same_v<T, double> && batch<T, A>::size == 8) return _mm512_fmadd_pd(a, b, c);
#endif
  if constexpr (std::is_same_v<T, float> && batch<T, A>::size == 4) return _mm_fmadd_ps(a, b, c);
  if constexpr (std::is_same_v<T, float> && batch<T, A>::size == 8) return _mm256_fmadd_ps(a, b, c);
  if constexpr (std::is_same_v<T, double> && batch<T, A>::size == 2) return _mm_fmadd_pd(a, b, c);
  if constexpr (std::is_same_v<T, double> && batch<T, A>::size == 4) return _mm256_fmadd_pd(a, b, c);
#endif
  return xsimd::fma(a, b, c);
}
template <class T, class A>
batch<T, A> max(batch<T, A> a, batch<T, A> b) {
  return xsimd::max(a, b);
}
template <class T, class A>
batch<T, A> min(batch<T, A> a, batch<T, A> b) {
  return xsimd::min(a, b);
}
template <class T, class A>
batch<T, A> abs(batch<T, A> a) {
  return xsimd::abs(a);
}
template <class T, class A>
batch<T, A> sqrt(batch<T, A> a) {
#if defined(__aarch64__)
  // xsimd 8.1 goes on from an estimate: not the nearest, and NaN for infinity.
  if constexpr (std::is_same_v<batch<T, A>, batch<float, xsimd::neon64>>) return vsqrtq_f32(a);
#endif
  return xsimd::sqrt(a);
}
template <class T, class A>
batch<T, A> select(xsimd::batch_bool<T, A> condition, batch<T, A> a, batch<T, A> b) {
  return xsimd::select(condition, a, b);
}
template <class T, class A>
batch<T, A> round(batch<T, A> x) {
  return xsimd::nearbyint(x);
}
template <class T, class A>
batch<T, A> scale_by_power_of_two(batch<T, A> x, batch<T, A> n) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && batch<T, A>::size == 16) return _mm512_scalef_ps(x, n);
#endif
  return xsimd::ldexp(x, xsimd::to_int(n));
}
template <class T, class A>
T max_of(batch<T, A> x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && batch<T, A>::size == 16) return _mm512_reduce_max_ps(x);
#endif
  T lane[batch<T, A>::size];
  x.store_unaligned(lane);
  T m = lane[0];
  for (T v : lane) m = v > m ? v : m;
  return m;
}
namespace precise {
template <class A>
batch<double, A> exp(batch<double, A> x) {
  return xsimd::exp(x);
}
template <class A>
batch<double, A> tanh(batch<double, A> x) {
  return xsimd::tanh(x);
}
}  // namespace precise
#endif

// ---- narrow storage to packs ----
// Loaders of width<P> consecutive elements, widened to P. Intrinsics where the generic loop would not
// vectorise.
namespace detail {
template <class P, class F>
P gather_lanes(F&& lane) {
  element<P> x[static_cast<std::size_t>(width<P>)];
  for (index_t i = 0; i < width<P>; ++i) x[i] = static_cast<element<P>>(lane(i));
  return load<P>(x);
}
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
template <class P>
inline constexpr bool is_zmm = std::is_same_v<element<P>, float> && width<P> == 16;
inline __m512 widen_bytes(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
template <class P>
inline constexpr bool is_ymm = std::is_same_v<element<P>, float> && width<P> == 8;
inline __m256 widen_half_bytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }
inline __m128i load_8_bytes(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
#endif
}  // namespace detail

template <class P>
P load_i8(const std::int8_t* p) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_ymm<P>) return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(detail::load_8_bytes(p)));
#endif
  return detail::gather_lanes<P>([p](index_t i) { return p[i]; });
}
// The low, or the high, four bits of width<P> bytes.
template <class P, bool High>
P load_nibbles(const std::uint8_t* p) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>) {
    __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (High) b = _mm_srli_epi16(b, 4);
    return detail::widen_bytes(_mm_and_si128(b, _mm_set1_epi8(15)));
  }
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_ymm<P>) {
    __m128i b = detail::load_8_bytes(p);
    if constexpr (High) b = _mm_srli_epi16(b, 4);
    return detail::widen_half_bytes(_mm_and_si128(b, _mm_set1_epi8(15)));
  }
#endif
  return detail::gather_lanes<P>([p](index_t i) { return High ? p[i] >> 4 : p[i] & 15; });
}
// table[i] for the low, and for the high, four bits i of 16 bytes: no decoder of 16 values is quicker. Only
// where looks_up_nibbles.
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
template <class P>
inline constexpr bool looks_up_nibbles = detail::is_zmm<P>;
template <class P>
void look_up_nibbles(const std::uint8_t* p, P table, P* low, P* high) {
  const __m512i i = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  *low = _mm512_permutexvar_ps(i, table);
  *high = _mm512_permutexvar_ps(_mm512_srli_epi32(i, 4), table);
}
#else
template <class P>
inline constexpr bool looks_up_nibbles = false;
template <class P>
void look_up_nibbles(const std::uint8_t*, P, P*, P*) = delete;
#endif
// 0, 1, 2, ...
template <class P>
P iota() {
  element<P> x[static_cast<std::size_t>(width<P>)];
  for (index_t i = 0; i < width<P>; ++i) x[i] = static_cast<element<P>>(i);
  return load<P>(x);
}
// bfloat16, any alignment.
template <class P>
P load_bf16(const void* p) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
#endif
#if defined(__AVX2__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_ymm<P>) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
#endif
  std::uint16_t h[static_cast<std::size_t>(width<P>)];
  std::memcpy(h, p, sizeof h);
  return detail::gather_lanes<P>([&h](index_t i) { return from_bf16(h[i]); });
}
// binary16, any alignment: one, and width<P> of them.
inline float load_one_f16(const void* p) {
  std::uint16_t h;
  std::memcpy(&h, p, sizeof h);
#if defined(__F16C__) && !defined(MNEME_NO_SIMD)
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
#else
  return from_f16(h);
#endif
}
template <class P>
P load_f16(const void* p) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>) return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
#endif
#if defined(__F16C__) && defined(__AVX2__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_ymm<P>) return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
#endif
  std::uint16_t h[static_cast<std::size_t>(width<P>)];
  std::memcpy(h, p, sizeof h);
  return detail::gather_lanes<P>([&h](index_t i) { return from_f16(h[i]); });
}

}  // namespace simd
}  // namespace mneme::inline MNEME_ABI
