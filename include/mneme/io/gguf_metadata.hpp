// SPDX-License-Identifier: Apache-2.0
// The key/value part of a GGUF file: walked and checked once, decoded when asked for.
#pragma once
#include "../core/error.hpp"
#include "bytes.hpp"

#include <concepts>
#include <map>
#include <type_traits>
#include <utility>
#include <vector>

namespace mneme::inline MNEME_ABI {

// Value types, numbered as in the file.
enum class gguf_type : std::uint32_t {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  boolean,
  string,
  array,
  uint64,
  int64,
  float64
};

// A scalar, or an array of `count` items; `at` is the byte offset of its first item.
struct gguf_value {
  gguf_type type;
  gguf_type item;  // the type itself for scalars
  std::uint64_t count;
  std::size_t at;
};

namespace detail {

inline constexpr const char* gguf_type_names[] = {"UINT8",  "INT8",    "UINT16", "INT16",  "UINT32",
                                                  "INT32",  "FLOAT32", "BOOL",   "STRING", "ARRAY",
                                                  "UINT64", "INT64",   "FLOAT64"};
inline std::string text_of(gguf_type t) { return gguf_type_names[static_cast<std::size_t>(t)]; }
inline std::string text_of(const gguf_value& v) {
  return v.type == gguf_type::array ? "ARRAY of " + text_of(v.item) : text_of(v.type);
}

// Least bytes of one item in the file: what bounds a hostile count.
constexpr std::size_t gguf_least_bytes(gguf_type t) {
  constexpr std::size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return bytes[static_cast<std::size_t>(t)];
}

inline bool take_gguf_type(byte_cursor& in, gguf_type& t) {
  std::uint32_t number = 0;
  if (!in.take(number) || number > static_cast<std::uint32_t>(gguf_type::float64)) return false;
  t = static_cast<gguf_type>(number);
  return true;
}
inline bool take_gguf_string(byte_cursor& in, std::string_view& s) {
  std::uint64_t n = 0;
  return in.take(n) && in.take(s, n);
}

// Moves past `count` items of a type. Returns what is wrong, or null.
inline const char* skip_gguf_items(byte_cursor& in, gguf_type type, std::uint64_t count, int depth_left) {
  if (count > in.left() / gguf_least_bytes(type)) return "the file ends inside the value";
  if (type == gguf_type::string) {
    std::string_view s;
    for (; count > 0; --count)
      if (!take_gguf_string(in, s)) return "the file ends inside a string";
  } else if (type == gguf_type::array) {
    if (depth_left == 0) return "arrays are nested too deeply";
    for (; count > 0; --count) {
      gguf_type item{};
      std::uint64_t n = 0;
      if (!take_gguf_type(in, item)) return "unknown item type of an array";
      if (!in.take(n)) return "the file ends inside an array";
      if (const char* problem = skip_gguf_items(in, item, n, depth_left - 1)) return problem;
    }
  } else if (type == gguf_type::boolean) {
    for (std::uint8_t b = 0; count > 0; --count)
      if (!in.take(b) || b > 1) return "a BOOL is neither 0 nor 1";
  } else {
    in.skip(count * gguf_least_bytes(type));
  }
  return nullptr;
}

// Reads one value and moves past it. Returns what is wrong, or null.
inline const char* take_gguf_value(byte_cursor& in, gguf_value& v) {
  constexpr int deepest = 4;
  if (!take_gguf_type(in, v.type)) return "unknown value type";
  v.item = v.type;
  v.count = 1;
  if (v.type == gguf_type::array && (!take_gguf_type(in, v.item) || !in.take(v.count)))
    return "unknown item type of an array";
  v.at = in.at();
  return skip_gguf_items(in, v.item, v.count, deepest);
}

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class T>
std::string gguf_wanted() {
  if constexpr (is_vector<T>)
    return "ARRAY of " + gguf_wanted<typename T::value_type>();
  else if constexpr (std::same_as<T, std::string>)
    return "STRING";
  else if constexpr (std::same_as<T, bool>)
    return "BOOL";
  else
    return (std::is_floating_point_v<T> ? "a float of "
            : std::is_signed_v<T>       ? "an integer of "
                                        : "an unsigned integer of ") +
           detail::text(8 * sizeof(T)) + " bits";
}

enum class gguf_read { ok, wrong_type, out_of_range };

// One item of a value that was walked before, so that the bytes are there.
template <class T>
gguf_read take_gguf_item(byte_cursor& in, gguf_type type, T& out) {
  const auto number = [&]<class N>(N n) {
    in.take(n);
    if constexpr (std::floating_point<N>) {
      if constexpr (std::floating_point<T> && sizeof(T) >= sizeof(N)) return out = n, gguf_read::ok;
    } else if constexpr (std::integral<T> && !std::same_as<T, bool>) {
      if (!std::in_range<T>(n)) return gguf_read::out_of_range;
      return out = static_cast<T>(n), gguf_read::ok;
    }
    return gguf_read::wrong_type;
  };
  switch (type) {
    case gguf_type::uint8: return number(std::uint8_t{});
    case gguf_type::int8: return number(std::int8_t{});
    case gguf_type::uint16: return number(std::uint16_t{});
    case gguf_type::int16: return number(std::int16_t{});
    case gguf_type::uint32: return number(std::uint32_t{});
    case gguf_type::int32: return number(std::int32_t{});
    case gguf_type::uint64: return number(std::uint64_t{});
    case gguf_type::int64: return number(std::int64_t{});
    case gguf_type::float32: return number(float{});
    case gguf_type::float64: return number(double{});
    case gguf_type::boolean:
      if constexpr (std::same_as<T, bool> || std::same_as<T, std::uint8_t>) {
        std::uint8_t b = 0;
        in.take(b);
        return out = static_cast<T>(b), gguf_read::ok;
      }
      return gguf_read::wrong_type;
    case gguf_type::string:
      if constexpr (std::same_as<T, std::string>) {
        std::string_view s;
        take_gguf_string(in, s);
        return out = s, gguf_read::ok;
      }
      return gguf_read::wrong_type;
    case gguf_type::array: break;
  }
  return gguf_read::wrong_type;
}

}  // namespace detail

namespace detail {
template <class T>
concept GgufItem = std::is_arithmetic_v<T> || std::same_as<T, std::string>;
}

// What gguf_file::get can give: bool, integers, float, double, std::string, and vectors of them. Arrays of
// BOOL come as std::vector<std::uint8_t>.
template <class T>
concept GgufValue = detail::GgufItem<T> || (detail::is_vector<T> && !std::same_as<T, std::vector<bool>> &&
                                            requires { requires detail::GgufItem<typename T::value_type>; });

namespace detail {
// Decodes a walked value, as gguf_file::get describes.
template <GgufValue T>
gguf_read decode_gguf(std::span<const std::byte> bytes, const gguf_value& v, T& out) {
  byte_cursor in(bytes, v.at);
  if constexpr (is_vector<T>) {
    if (v.type != gguf_type::array) return gguf_read::wrong_type;
    out.clear();
    for (std::uint64_t i = 0; i < v.count; ++i) {
      typename T::value_type item{};
      if (const gguf_read r = take_gguf_item(in, v.item, item); r != gguf_read::ok) return r;
      out.push_back(std::move(item));
    }
    return gguf_read::ok;
  } else {
    return take_gguf_item(in, v.type, out);
  }
}
}  // namespace detail

}  // namespace mneme::inline MNEME_ABI
