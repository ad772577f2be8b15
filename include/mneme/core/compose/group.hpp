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

// The weights of like parts by reference, visited as "0", "1", ... A vector holds no references, an aggregate
// does; its member adds no name to the path.
template <class Weights>
struct held_weights {
  using composed_fields = void;
  Weights weights;
  static constexpr void fields(auto&& f, auto&... h) { f("", h.weights...); }
};
template <class Parts>
auto weights_list(Parts& parts) {
  using one = held_weights<decltype(weights_of(parts.front()))>;
  many<one> all;
  for (auto& m : parts) all.items.push_back(one{weights_of(m)});
  return all;
}

// Parts that can stand beside A: rows of the same element types in the same space.
template <class B, class A>
concept SameRows = Memory<B> && std::same_as<scalar_t<B>, scalar_t<A>> &&
                   std::same_as<input_t<B>, input_t<A>> && std::same_as<space_t<B>, space_t<A>>;

// What a part says of itself: by its type, or, erased, when asked.
template <Memory M>
bool is_row_stable(const M& m) {
  if constexpr (requires { m.is_row_stable(); })
    return m.is_row_stable();
  else
    return row_stable<M>;
}
template <Memory M>
bool is_readable(const M& m) {
  if constexpr (requires { m.readable(); })
    return m.readable();
  else
    return Readable<M>;
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
// y += a x.
template <class T>
void add_scaled_row(context&, T a, row_view<const T> x, row_view<T> y) noexcept {
  for (index_t i = 0; i < y.size(); ++i) y[i] += a * x[i];
}

}  // namespace mneme::inline MNEME_ABI
