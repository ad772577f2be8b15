// SPDX-License-Identifier: Apache-2.0
// group: a tuple that the fields visitor walks as "0", "1", ...; states and weights of composed memories.
#pragma once
#include "../concepts.hpp"
#include "../error.hpp"

#include <array>
#include <tuple>
#include <utility>

namespace mneme::inline MNEME_ABI {

namespace detail {
template <std::size_t I>
struct decimal {  // I as text, for as long as the program runs
  static constexpr std::size_t length = I < 10 ? 1 : 1 + decimal<I / 10>::length;
  static constexpr std::array<char, length> digits = [] {
    std::array<char, length> d{};
    for (std::size_t i = length, n = I; i-- > 0; n /= 10) d[i] = static_cast<char>('0' + n % 10);
    return d;
  }();
  static constexpr std::string_view text{digits.data(), length};
};
}  // namespace detail

template <class... S>
struct group {
  using composed_fields = void;
  std::tuple<S...> parts;

  friend bool operator==(const group&, const group&) = default;
  static constexpr void fields(auto&& f, auto&... g) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (visit_part<I>(f, g...), ...);
    }(std::index_sequence_for<S...>{});
  }

 private:
  template <std::size_t I>
  static constexpr void visit_part(auto& f, auto&... g) {
    f(detail::decimal<I>::text, std::get<I>(g.parts)...);
  }
};

// The weights of m, or nothing.
template <class M>
decltype(auto) weights_of(M& m) {
  if constexpr (requires { m.weights(); })
    return m.weights();
  else
    return nothing{};
}

// Element-wise Y += X. Compositions never loop over elements themselves: they call overloads for the space.
template <class T>
void add_rows(context&, mat_view<const T> X, mat_view<T> Y) noexcept {
  for (index_t t = 0; t < Y.rows(); ++t) {
    const auto x = X[t];
    const auto y = Y[t];
    for (index_t i = 0; i < y.size(); ++i) y[i] += x[i];
  }
}

}  // namespace mneme::inline MNEME_ABI
