// SPDX-License-Identifier: Apache-2.0
// The architectures that op tests run on: those which this translation unit may compile
// (under AddressSanitizer, whose objects compile slowly, the plainest and the best).
#pragma once
#include <mneme/math/simd.hpp>

#include <tuple>

namespace mneme_test {

using test_archs = std::tuple<mneme::simd::scalar, mneme::simd::native
#if !defined(MNEME_NO_SIMD) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
                              ,
                              xsimd::sse2
#if defined(__AVX2__)
                              ,
                              xsimd::avx2
#endif
#endif
                              >;

}  // namespace mneme_test
