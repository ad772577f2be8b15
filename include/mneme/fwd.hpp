// SPDX-License-Identifier: Apache-2.0
// Forward declarations, space tags and backend tags: the vocabulary that every other header may use.
#pragma once
#include "version.hpp"

#include <cstddef>
#include <cstdint>

namespace mneme::inline MNEME_ABI {

using index_t = std::ptrdiff_t;  // sizes, indices and positions; signed, so that differences are safe
using token_id = std::int32_t;   // input type of memories that read tokens instead of rows

// Where bytes live. The space is part of every view, buffer and context type: host and device never mix.
struct host {};
struct cuda {};  // also the backend tag of the CUDA kernels

// How an op is computed. A backend is a type, never a macro.
struct reference {};  // obvious loops, double accumulation
template <class Arch>
struct cpu {};  // one SIMD source for all instruction sets; Arch is an xsimd architecture or simd::scalar

// kernel<Op, Backend> computes one op on one backend. There is no primary definition: no silent fallback.
template <class Op, class Backend>
struct kernel;

template <class Op, class Backend>
concept Implemented = requires { sizeof(kernel<Op, Backend>); };

template <class T, class Space = host>
class row_view;
template <class T, class Space = host>
class mat_view;
template <class T, class Space = host>
class buffer;
template <class Space = host>
class context_in;
class weight;

using context = context_in<host>;

}  // namespace mneme::inline MNEME_ABI
