// SPDX-License-Identifier: Apache-2.0
// What the laws run on: erased memories, registered by one generated file per header (registration.cmake).
#pragma once
#include <mneme/core/any_memory.hpp>

#include "matrix.hpp"

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace mneme_test {

using mneme::any_memory;

template <class T, class Input>
struct subject {
  using scalar = T;
  using input = Input;
  using oracle_input = std::conditional_t<std::is_same_v<Input, token_id>, token_id, double>;

  std::string name;  // "linear<float> #2": the third of linear<float>::samples()
  any_memory<T, Input> memory;
  std::optional<any_memory<double, oracle_input>>
      oracle;                                     // same weights, double precision, reference kernels
  std::optional<any_memory<T, Input>> unbounded;  // an evicting memory's twin that evicts nothing
  double storage_epsilon = 0;                     // what its stores round off, relative
  bool row_stable = false, growing = false;
  std::function<bool()> survives_move = {};  // whether a moved-from state can be assigned to and destroyed
};

#if defined(MNEME_NO_SIMD)  // double would be the oracle's own arithmetic
inline constexpr bool examines_double = false;
using any_subject = std::variant<subject<float, float>, subject<float, token_id>>;
#else
inline constexpr bool examines_double = true;
using any_subject = std::variant<subject<float, float>, subject<double, double>, subject<float, token_id>,
                                 subject<double, token_id>>;
#endif
template <class Body>
void for_scalars(Body&& body) {
  body.template operator()<float>();
  if constexpr (examines_double) body.template operator()<double>();
}

// The subject of an instance m and of its oracle (any Memory, or nothing).
template <class M, class Oracle = mneme::nothing>
auto make_subject(std::string name, M m, const Oracle& oracle = {}) {
  using T = mneme::scalar_t<M>;
  subject<T, mneme::input_t<M>> s{std::move(name), m, {}, {}, 0, false, false, {}};
  if constexpr (mneme::Memory<Oracle>) s.oracle = oracle;
  if constexpr (requires { M::storage_epsilon; }) s.storage_epsilon = M::storage_epsilon;
  s.row_stable = s.memory.is_row_stable();
  s.growing = s.memory.growing();
  s.survives_move = [m] {
    const auto expected = m.init();
    auto a = m.init();
    auto b = std::move(a);
    a = b;
    auto c = std::move(b);
    b = std::move(a);
    return b == expected && c == expected;
  };
  return s;
}

// Registered subjects are built when a law first asks for them, so that a constructor that fails is seen as
// such.
using subject_source = void (*)(std::vector<any_subject>&);
inline std::vector<subject_source>& subject_sources() {
  static std::vector<subject_source> sources;
  return sources;
}
inline bool register_source(subject_source source) {
  subject_sources().push_back(source);
  return true;
}
const std::vector<any_subject>& subjects();  // every sample of every registered memory
const std::vector<any_subject>& composed();  // chains, residuals, stacks made of them (law L17)
// Every composition of s, with the partner beside it where there are two parts.
std::vector<any_subject> compositions_of(const subject<float, float>& s,
                                         const subject<float, float>& partner);
void add_concrete_compositions(std::vector<any_subject>&);

}  // namespace mneme_test
