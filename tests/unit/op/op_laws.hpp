// SPDX-License-Identifier: Apache-2.0
// Laws of ops, as functions that return what is wrong and nothing if the law holds: unit tests ask them about
// the library's ops, tests/mutants about planted faults. L20, what becomes what: recurrence_laws.hpp.
#pragma once
#include <mneme/math/simd.hpp>

#include "arch_list.hpp"
#include "laws/matrix.hpp"
#include "laws/tolerance.hpp"

#include <any>
#include <functional>
#include <string>

namespace mneme_test {

// Kernels by pointer. Every backend of an op has this signature.
template <class Op, class T>
using kernel_of = decltype(&mneme::kernel<Op, mneme::reference>::template run<T>);
template <class Op, class T>
inline constexpr kernel_of<Op, T> reference_of = &mneme::kernel<Op, mneme::reference>::template run<T>;
template <class Op, class T>
inline constexpr kernel_of<Op, T> native_of =
    &mneme::kernel<Op, mneme::cpu<mneme::simd::native>>::template run<T>;
template <class Op, class T>
auto kernels_of() {
  return on_archs<archs_of<T>>(
      []<class Arch>() -> kernel_of<Op, T> { return &mneme::kernel<Op, mneme::cpu<Arch>>::template run<T>; });
}

// A kernel with its inputs: takes what the op carries from token to token, in place (for some nothing), and
// returns the last `outs` outputs of the tokens [from, to).
template <class T>
using tensors = std::vector<matrix<T>>;
template <class T>
using op_run = std::function<matrix<T>(tensors<T>& state, index_t from, index_t to, index_t outs)>;

template <class T>
struct op_result {
  matrix<T> outputs;
  tensors<T> state;
};
template <class T>
op_result<T> result_of(const op_run<T>& run, tensors<T> state, index_t tokens, index_t outs) {
  matrix<T> outputs = run(state, 0, tokens, outs);
  return {std::move(outputs), std::move(state)};
}

// L16: a kernel is near what the reference makes of the same in double, has the same bits twice, and writes
// nothing beside its rows.
std::string backend_fault(const op_run<float>& kernel, const tensors<float>& start, index_t tokens,
                          index_t outs, const op_result<double>& expected, const tolerance& allowed);
std::string backend_fault(const op_run<double>& kernel, const tensors<double>& start, index_t tokens,
                          index_t outs, const op_result<double>& expected, const tolerance& allowed);

// L1 and L2 to the bit: however the tokens are cut into calls, whether their outputs are read or not.
std::string split_fault(const op_run<float>& kernel, const tensors<float>& start, index_t tokens);

// L21, of an op without state: the bits of a row do not depend on the rows beside it.
std::string company_fault(const op_run<float>& kernel, index_t rows);

// Stretches of tokens, or of entries, as values: what L12 is about.
struct stretches {
  index_t length;
  std::function<std::any(index_t from, index_t to)> of;  // of(t, t) is empty
  std::function<std::any(const std::any& earlier, const std::any& later)> merged;
  std::function<matrix<double>(const std::any&)> applied;  // the state after it, or the answers
  std::function<bool(const std::any&, const std::any&)> same;
  matrix<double> sequence;  // what all of [0, length) gives without stretches
};
// L12: merging is associative, the empty stretch is neutral, and a merge acts as the sequence does.
std::string monoid_fault(const stretches& s, const tolerance& allowed);

}  // namespace mneme_test
