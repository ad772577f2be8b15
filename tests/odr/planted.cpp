// SPDX-License-Identifier: Apache-2.0
// The control of disassembly.py: a helper outside of the inline namespace, built per instruction set.
#include "units.hpp"

template <class T>
[[gnu::noinline]] T untagged(T x) {
  T sum = 0;
  for (int i = 1; i < 9; ++i) sum = x * sum + static_cast<T>(i);
  return sum;
}

float MNEME_ODR_UNIT(float x) { return untagged(x); }
#if defined(__AVX512F__)
float files_avx512(float x) { return x; }
#endif
