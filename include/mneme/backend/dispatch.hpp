// SPDX-License-Identifier: Apache-2.0
// Which backend a memory takes unless told otherwise.
#pragma once
#include "../math/simd.hpp"

namespace mneme::inline MNEME_ABI {

using native = cpu<simd::native>;  // the best instruction set that this translation unit may use

// The first of {native, reference} that implements the op: a new memory is one file before its fast kernel
// exists.
// Include the kernel's header (backend/cpu/<op>.hpp) before naming this.
template <class Op>
using default_backend = std::conditional_t<Implemented<Op, native>, native, reference>;

// The architecture whose packs serve a backend's small helpers.
template <class Backend>
struct arch_of {
  using type = simd::scalar;
};
template <class Arch>
struct arch_of<cpu<Arch>> {
  using type = Arch;
};

}  // namespace mneme::inline MNEME_ABI
