// SPDX-License-Identifier: Apache-2.0
// register_family: what a generated registration file calls.
#pragma once
#include "subject.hpp"

namespace mneme_test {

inline constexpr std::uint64_t weight_seed = 20241;

// A family names the instantiations of one memory:
//   template <class T> using native = foo<T>;               registered for float and double
//   template <class T> using oracle = foo<T, reference>;    their double-precision oracle
//   template <class T> using unbounded = ...;               optional: the twin that evicts nothing
// and says its `name()`. An alias that does not exist (constraints) drops that instantiation.
template <class Oracle, class M>
Oracle twin_of(const M& m, const typename M::config& c) {  // another instantiation with the weights of m
  if constexpr (requires { m.weights(); })
    return Oracle(c, m.weights());
  else
    return Oracle(c, weight_seed);
}

template <class Family, class T>
void add_samples(std::vector<any_subject>& all) {
  if constexpr (requires { typename Family::template native<T>; }) {
    using M = typename Family::template native<T>;
    using oracle = typename Family::template oracle<double>;
    static_assert(mneme::Sampled<M>,
                  "a header of memory/ or layer/ declares a class of its own name that is a Sampled Memory");
    static_assert(mneme::Memory<oracle>, "the reference backend of a memory is its oracle");
    int number = 0;
    for (const auto& c : M::samples()) {
      const M m(c, weight_seed);
      std::string name = Family::name();
      name.append(sizeof(T) == 8 ? "<double> #" : "<float> #").append(std::to_string(number++));
      auto s = make_subject(std::move(name), m, twin_of<oracle>(m, c));
      if constexpr (requires { typename Family::template unbounded<T>; })
        s.unbounded = twin_of<typename Family::template unbounded<T>>(m, c);
      all.push_back(std::move(s));
    }
  }
}

template <class Family>
bool register_family() {
  return register_source([](std::vector<any_subject>& all) {
    for_scalars([&]<class T>() { add_samples<Family, T>(all); });
  });
}

}  // namespace mneme_test
