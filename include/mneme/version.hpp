// SPDX-License-Identifier: Apache-2.0
// Library version and the inline namespace that holds everything.
#pragma once

#define MNEME_VERSION_MAJOR 0
#define MNEME_VERSION_MINOR 1
#define MNEME_VERSION_PATCH 0
#define MNEME_VERSION_STRING "0.1.0"

// The inline namespace is named from the version and from the instruction set of the translation unit. It
// selects no code: it keeps inline functions of units built with different -m flags apart, so that the linker
// can never hand the AVX-512 copy of a helper to the SSE2 path. Crossing such units is a link error; cross
// them with function tables (tests/odr/README.md). MNEME_NO_SIMD (one-lane kernels, no xsimd) changes the
// default architecture, hence the name.
#if defined(MNEME_NO_SIMD)
#define MNEME_ABI_OF(instructions) v0_scalar_##instructions
#else
#define MNEME_ABI_OF(instructions) v0_##instructions
#endif
#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512BF16__)
#define MNEME_ABI MNEME_ABI_OF(avx512_bf16)
#elif defined(__AVX512BW__) && defined(__AVX512DQ__)
#define MNEME_ABI MNEME_ABI_OF(avx512)
#elif defined(__AVX512F__)
#define MNEME_ABI MNEME_ABI_OF(avx512f)
#elif defined(__AVX2__) && defined(__FMA__)
#define MNEME_ABI MNEME_ABI_OF(avx2_fma)
#elif defined(__AVX2__)
#define MNEME_ABI MNEME_ABI_OF(avx2)
#elif defined(__AVX__) && defined(__FMA__)
#define MNEME_ABI MNEME_ABI_OF(avx_fma)
#elif defined(__AVX__)
#define MNEME_ABI MNEME_ABI_OF(avx)
#elif defined(__SSE4_2__)
#define MNEME_ABI MNEME_ABI_OF(sse42)
#elif defined(__SSE4_1__)
#define MNEME_ABI MNEME_ABI_OF(sse41)
#elif defined(__SSSE3__)
#define MNEME_ABI MNEME_ABI_OF(ssse3)
#elif defined(__SSE3__)
#define MNEME_ABI MNEME_ABI_OF(sse3)
#elif defined(__aarch64__)
#define MNEME_ABI MNEME_ABI_OF(neon)
#else
#define MNEME_ABI MNEME_ABI_OF(base)
#endif

namespace mneme::inline MNEME_ABI {}
