// SPDX-License-Identifier: Apache-2.0
// The architectures that op tests run on: those which this translation unit may compile
// (under AddressSanitizer, whose objects compile slowly, the best alone).
#pragma once
#include <mneme/math/simd.hpp>

#include <tuple>

namespace mneme_test {

using test_archs = std::tuple<mneme::simd::native
#if !defined(__SANITIZE_ADDRESS__)
                              ,
                              mneme::simd::scalar
#if !defined(MNEME_NO_SIMD) && defined(__x86_64__)
                              ,
                              xsimd::sse2
#if defined(__AVX2__)
                              ,
                              xsimd::avx2
#endif
#endif
#endif
                              >;

}  // namespace mneme_test
