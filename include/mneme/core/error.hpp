// SPDX-License-Identifier: Apache-2.0
// One path for errors, with or without exceptions: functions that can fail return expected<T>; constructors
// call fail.
#pragma once
#include "../fwd.hpp"

#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace mneme::inline MNEME_ABI {

// An error names the thing, the value met and what was expected, in one line.
class error : public std::exception {
 public:
  explicit error(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const noexcept { return message_; }

 private:
  std::string message_;
};

// Throws the error, or prints it and terminates where exceptions are switched off.
[[noreturn]] inline void fail(error e) {
#if defined(__cpp_exceptions)
  throw e;
#else
  std::fprintf(stderr, "mneme: %s\n", e.what());
  std::abort();
#endif
}
[[noreturn]] inline void fail(std::string message) { fail(error(std::move(message))); }

// A value or an error (std::expected is C++23). value() of an error fails with that error.
template <class T>
class [[nodiscard]] expected {
 public:
  expected(T value) : v_(std::in_place_index<0>, std::move(value)) {}
  expected(mneme::error e) : v_(std::in_place_index<1>, std::move(e)) {}

  bool has_value() const noexcept { return v_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& value() & { return check(), *std::get_if<0>(&v_); }
  const T& value() const& { return check(), *std::get_if<0>(&v_); }
  T&& value() && { return check(), std::move(*std::get_if<0>(&v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // Precondition: !has_value().
  const mneme::error& error() const { return *std::get_if<1>(&v_); }

 private:
  void check() const {
    if (!has_value()) fail(error());
  }
  std::variant<T, mneme::error> v_;
};

// Success (empty) or an error: what a check or a save returns.
class [[nodiscard]] status {
 public:
  status() = default;
  status(mneme::error e) : e_(std::move(e)) {}
  bool ok() const noexcept { return !e_; }
  explicit operator bool() const noexcept { return ok(); }
  // Precondition: !ok().
  const mneme::error& error() const { return *e_; }
  void or_fail() const {
    if (e_) fail(*e_);
  }

 private:
  std::optional<mneme::error> e_;
};

// make<M>(config): a memory, or the error that its constructor would fail with. A memory opts in with
// `static status check(const config&)`, which its constructor calls too.
template <class M, class... A>
expected<M> make(const typename M::config& c, A&&... args) {
  if (status s = M::check(c); !s) return s.error();
  return M(c, std::forward<A>(args)...);
}

// Text of an error: message("capacity is ", 0, ", expected at least 1").
namespace detail {
inline std::string text(std::string s) { return s; }
inline std::string text(const char* s) { return s; }
// Not std::to_string: the linker may keep another unit's copy of it, or of what it calls, with instructions
// that this unit's machine lacks.
template <std::integral N>
std::string text(N n) {
  char digits[24];
  if constexpr (std::signed_integral<N>)
    std::snprintf(digits, sizeof digits, "%lld", static_cast<long long>(n));
  else
    std::snprintf(digits, sizeof digits, "%llu", static_cast<unsigned long long>(n));
  return digits;
}
inline std::string text(double n) {
  char digits[std::numeric_limits<double>::max_exponent10 + 20];
  std::snprintf(digits, sizeof digits, "%f", n);
  return digits;
}
}  // namespace detail
template <class... A>
error message(const A&... parts) {
  std::string s;
  ((s += detail::text(parts)), ...);
  return error(std::move(s));
}

// An error that names the first size below its least: "gla: heads is 0, expected at least 1".
struct named_size {
  const char* name;
  index_t value, least = 1;
};
inline status expect_sizes(const char* of, std::initializer_list<named_size> sizes) {
  for (const named_size& s : sizes)
    if (s.value < s.least) return message(of, ": ", s.name, " is ", s.value, ", expected at least ", s.least);
  return {};
}

}  // namespace mneme::inline MNEME_ABI
