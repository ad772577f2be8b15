// SPDX-License-Identifier: Apache-2.0
// exp, sigmoid, silu, softplus, tanh on packs: guarded forms with stated error and domain.
#pragma once
#include "simd.hpp"

namespace mneme::inline MNEME_ABI {

// e^x. Float: at most 2 ULP; results below 2^-125 are 0; above the largest float, infinity; NaN stays NaN.
// Double: the library function of xsimd or of the standard library; NaN stays NaN.
struct exp_function {
  template <class P>
  P operator()(P x) const;
};
inline constexpr exp_function exp{};  // an object: argument-dependent lookup would find xsimd's own function

namespace detail {
// e^(x - n ln 2), |x - n ln 2| <= ln 2 / 2. ln 2 in two parts, so that n times the first is exact.
template <class P>
[[gnu::always_inline]] inline P exp_of_remainder(P x, P n) noexcept {
  P r = simd::fma(n, P(-0.693359375f), x);
  r = simd::fma(n, P(2.12194440e-4f), r);
  P p = P(1.9875691500e-4f);  // minimax polynomial of (e^r - 1 - r) / r^2
  p = simd::fma(p, r, P(1.3981999507e-3f));
  p = simd::fma(p, r, P(8.3334519073e-3f));
  p = simd::fma(p, r, P(4.1665795894e-2f));
  p = simd::fma(p, r, P(1.6666665459e-1f));
  p = simd::fma(p, r, P(5.0000001201e-1f));
  return simd::fma(p, r * r, r) + P(1.0f);
}
}  // namespace detail

template <class P>
P exp_function::operator()(P x) const {
  using T = simd::element<P>;
  if constexpr (std::is_same_v<T, double>) {
    return simd::precise::exp(x);
  } else {
    constexpr T lowest = -86.643397f, highest = 88.722839f;  // 125 ln 2; log of the largest float
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
    // The same bits, with less to guard: scalef takes any power of two, and min leaves NaN as it is.
    if constexpr (simd::detail::is_zmm<P>) {
      const __mmask16 counts = _mm512_cmp_ps_mask(x, _mm512_set1_ps(lowest), _CMP_NLT_UQ);
      const P bounded = _mm512_min_ps(_mm512_set1_ps(highest + 1), x),
              n = simd::round(bounded * P(1.44269504f));
      return _mm512_maskz_scalef_ps(counts, detail::exp_of_remainder(bounded, n), n);
    }
#endif
    const P clamped = simd::max(simd::min(x, P(highest)), P(lowest));
    const P n = simd::round(clamped * P(1.44269504f));
    const P p = detail::exp_of_remainder(clamped, n);
    // n reaches 128, whose power of two is no float: take one factor of two out.
    P y = simd::scale_by_power_of_two(p + p, n - P(1.0f));
    y = simd::select(x < P(lowest), P(0.0f), y);
    y = simd::select(x > P(highest), P(std::numeric_limits<T>::infinity()), y);
    return simd::select(x == x, y, x);  // NaN; != of xsimd 8.1 is false for it on AVX
  }
}

// 1 / (1 + e^-x). Float: at most 4 ULP.
template <class P>
P sigmoid(P x) {
  return P(1) / (P(1) + exp(P(0) - x));
}

// x sigmoid(x). Tends to -0 for x -> -infinity, and is NaN there.
template <class P>
P silu(P x) {
  return x * sigmoid(x);
}

// log(1 + y) for y in [0, 1], by 2 atanh(y / (2 + y)). Float: at most 3 ULP; double: 4 ULP.
template <class P>
P log1p_unit(P y) {
  using T = simd::element<P>;
  constexpr int terms = std::is_same_v<T, double> ? 17 : 8;
  const P z = y / (P(2) + y), z2 = z * z;
  P p = P(T(1) / T(2 * terms + 1));
  for (int k = terms - 1; k >= 1; --k) p = simd::fma(p, z2, P(T(1) / T(2 * k + 1)));
  return simd::fma(p * z2, z + z, z + z);
}

// log(1 + e^x) without overflow. Float: at most 4 ULP (of results above 2^-125).
template <class P>
P softplus(P x) {
  const P y = simd::max(x, P(0)) + log1p_unit(exp(P(0) - simd::abs(x)));
  return simd::select(x == x, y, x);
}

// Float: at most 4 ULP. Small arguments by an odd polynomial, others by 1 - 2 / (e^2x + 1).
struct tanh_function {
  template <class P>
  P operator()(P x) const;
};
inline constexpr tanh_function tanh{};  // an object, as exp is

template <class P>
P tanh_function::operator()(P x) const {
  using T = simd::element<P>;
  if constexpr (std::is_same_v<T, double>) {
    return simd::precise::tanh(x);
  } else {
    const P a = simd::abs(x);
    const P large = P(1.0f) - P(2.0f) / (exp(a + a) + P(1.0f));
    const P x2 = x * x;
    P p = P(-5.70498872745e-3f);
    p = simd::fma(p, x2, P(2.06390887954e-2f));
    p = simd::fma(p, x2, P(-5.37397155531e-2f));
    p = simd::fma(p, x2, P(1.33314422036e-1f));
    p = simd::fma(p, x2, P(-3.33332819422e-1f));
    const P small = simd::fma(p * x2, x, x);
    return simd::select(a < P(0.625f), small, simd::select(x < P(0.0f), P(0.0f) - large, large));
  }
}

}  // namespace mneme::inline MNEME_ABI
