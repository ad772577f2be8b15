// SPDX-License-Identifier: Apache-2.0
// fields: one line per member; visits one, two or more aggregates in lock step.
//
//   struct params {
//     weight w, b;
//     static constexpr void fields(auto&& f, auto&... s) { f("w", s.w...); f("b", s.b...); }
//   };
//
// This one visitor gives loading and saving, byte accounting, comparison, transfer and optimiser updates.
#pragma once
#include "buffer.hpp"

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace mneme::inline MNEME_ABI {

// Dotted path of a leaf ("layers.3.self_attn.key"); text is made only when asked for.
class field_path {
 public:
  constexpr field_path() = default;
  constexpr field_path(const field_path& parent, std::string_view name) : parent_(&parent), name_(name) {}
  std::string text() const {
    if (!parent_) return {};
    std::string s = parent_->text();
    if (!s.empty() && !name_.empty()) s += '.';
    return s.append(name_);
  }

 private:
  const field_path* parent_ = nullptr;
  std::string_view name_;
};

namespace detail {
struct ignore_fields {
  constexpr void operator()(auto&&...) const {}
};
struct convertible_to_any {
  template <class U>
  operator U() const;
};
template <class A, class... X>
constexpr int arity() {  // members of an aggregate: the longest brace list that it accepts
  if constexpr (requires { A{X{}..., convertible_to_any{}}; })
    return arity<A, X..., convertible_to_any>();
  else
    return static_cast<int>(sizeof...(X));
}
}  // namespace detail

template <class S>
concept HasFields = requires { std::remove_const_t<S>::fields(detail::ignore_fields{}); };

template <class S>
constexpr int field_count() {
  int n = 0;
  S::fields([&n](auto&&...) { ++n; });
  return n;
}

// Every member is visited: a forgotten tensor does not compile. Composed states (of chain, stack, any_memory)
// list their parts themselves and say so with `using composed_fields = void`.
template <class S>
concept CompleteFields = HasFields<S> && (requires { typename S::composed_fields; } ||
                                          (std::is_aggregate_v<S> && field_count<S>() == detail::arity<S>()));

// The empty aggregate: state or params of what has none.
struct nothing {
  friend bool operator==(const nothing&, const nothing&) = default;
  static constexpr void fields(auto&&, auto&...) {}
};

// N like aggregates, N known at run time; visited as "0", "1", ...
template <class S>
struct many {
  using composed_fields = void;
  std::vector<S> items;

  friend bool operator==(const many&, const many&) = default;
  static void fields(auto&& f, auto&... g) {
    if constexpr (sizeof...(g) > 0) {
      const std::size_t n = std::get<0>(std::tie(g...)).items.size();
      for (std::size_t i = 0; i < n; ++i) {
        char digits[24];
        const char* end = std::to_chars(digits, digits + sizeof digits, i).ptr;
        f(std::string_view(digits, static_cast<std::size_t>(end - digits)), g.items[i]...);
      }
    }
  }
};

// f(path, leaf, leaf...) for every leaf (buffer, weight, scalar, or anything without fields), depth first.
template <class F, class A, class... R>
void visit_fields(F&& f, const field_path& at, A& a, R&... rest) {
  if constexpr (requires { a.visit_leaves(f, at); } && sizeof...(R) == 0)
    a.visit_leaves(f, at);  // erased aggregates
  else if constexpr (HasFields<A>)
    std::remove_const_t<A>::fields(
        [&](std::string_view name, auto&... member) {
          if constexpr (sizeof...(member) > 0) visit_fields(f, field_path(at, name), member...);
        },
        a, rest...);
  else
    f(at, a, rest...);
}
template <class F, class A, class... R>
void visit_fields(F&& f, A& a, R&... rest) {
  visit_fields(f, field_path(), a, rest...);
}

// Bytes that a state holds: `owned` by it alone, `shared` with others (weights, copy-on-write pages),
// `reserved` beyond its content.
struct footprint_t {
  std::size_t owned = 0, shared = 0, reserved = 0;
  friend bool operator==(const footprint_t&, const footprint_t&) = default;
  footprint_t& operator+=(const footprint_t& o) {
    owned += o.owned, shared += o.shared, reserved += o.reserved;
    return *this;
  }
};

// What one leaf holds. Stores with bytes of their own provide `footprint()`.
template <class L>
footprint_t leaf_footprint(const L& leaf) {
  if constexpr (requires {
                  { leaf.footprint() } -> std::same_as<footprint_t>;
                })
    return leaf.footprint();
  else if constexpr (requires { leaf.reserved_bytes(); })
    return {leaf.bytes(), 0, leaf.reserved_bytes() - leaf.bytes()};
  else if constexpr (requires { leaf.bytes(); })
    return {0, leaf.bytes(), 0};
  else
    return {sizeof leaf, 0, 0};
}
template <class S>
footprint_t footprint(const S& s) {
  footprint_t sum;
  visit_fields([&](const field_path&, const auto& leaf) { sum += leaf_footprint(leaf); }, s);
  return sum;
}

}  // namespace mneme::inline MNEME_ABI
