// SPDX-License-Identifier: Apache-2.0
// The architectures that op tests run on: those which this translation unit may compile
// (under AddressSanitizer, whose objects compile slowly, the best alone).
#pragma once
#include <mneme/math/simd.hpp>

#include <tuple>
#include <type_traits>
#include <vector>

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

// Kernels in double are the code that they are in float, and packs of double are tested in math/: the best
// alone.
template <class T>
using archs_of = std::conditional_t<std::is_same_v<T, double>, std::tuple<mneme::simd::native>, test_archs>;

template <class V>
struct on_arch {
  const char* name;
  V value;
};

// of.operator()<Arch>() for all of Archs. Where that is a pointer to a kernel, the test around it is compiled
// once, not once per architecture: kernels are a third of what such a test costs.
template <class Archs, class Of>
auto on_archs(Of of) {
  std::vector<on_arch<decltype(of.template operator()<mneme::simd::native>())>> all;
  const auto add = [&]<class Arch>() {
    const char* name = "scalar";
    if constexpr (requires { Arch::name(); }) name = Arch::name();
    all.push_back({name, of.template operator()<Arch>()});
  };
  [&]<class... Arch>(std::type_identity<std::tuple<Arch...>>) {
    (add.template operator()<Arch>(), ...);
  }(std::type_identity<Archs>());
  return all;
}

}  // namespace mneme_test
