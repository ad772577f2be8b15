// SPDX-License-Identifier: Apache-2.0
// json_cursor: the strict subset of JSON that headers of safetensors files need, from untrusted text.
#pragma once
#include "../core/error.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mneme::inline MNEME_ABI {

// Bytes of the well-formed UTF-8 character at the front (RFC 3629), or 0.
inline std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned a = byte(0), b = byte(1);
  if (s.empty()) return 0;
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
  if (a >= 0xe0 && a <= 0xef) {
    const bool overlong = a == 0xe0 && b < 0xa0, surrogate = a == 0xed && b > 0x9f;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const bool overlong = a == 0xf0 && b < 0x90, beyond = a == 0xf4 && b > 0x8f;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}
inline bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

// s as a JSON string, quotes included. Precondition: is_utf8(s). One spelling per string.
inline std::string json_quote(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (u < 0x20)
      ((out += "\\u00") += "01"[u >> 4]) += "0123456789abcdef"[u & 15u];
    else
      out += c;
  }
  return out += '"';
}

// Values are taken one after the other; the caller says which kind it expects, so that nothing is built that
// nobody asked for and hostile text costs no more memory than its size. Objects, arrays, strings and integers
// only; duplicate keys, nesting beyond max_depth and malformed UTF-8 are refused. Every function returns
// false on an error; the first one is kept, with its byte offset (plus `base`, the place of the text in its
// file).
class json_cursor {
 public:
  enum class kind { object, array, string, integer, none };

  explicit json_cursor(std::string_view text, std::size_t base = 0, int max_depth = 16)
      : text_(text), base_(base), depth_left_(max_depth) {}

  // The kind of the next value; none at the end and before anything that is not read here.
  kind peek() {
    skip_space();
    switch (front()) {
      case '{': return kind::object;
      case '[': return kind::array;
      case '"': return kind::string;
      default: return front() == '-' || is_digit(front()) ? kind::integer : kind::none;
    }
  }

  // member(key) -> bool for every member; it must take the value.
  template <class F>
  bool object(F&& member) {
    std::vector<std::string> keys;
    const bool ok = list('{', '}', "an object", [&] {
      keys.emplace_back();
      return string(keys.back()) && take(':', "':' after a key") && member(std::as_const(keys.back()));
    });
    if (!ok) return false;
    std::sort(keys.begin(), keys.end(),
              [](const auto& a, const auto& b) { return a < b; });  // a name of ours
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    return twice == keys.end() || refuse("duplicate key " + json_quote(*twice));
  }
  // item() -> bool for every element; it must take the value.
  template <class F>
  bool array(F&& item) {
    return list('[', ']', "an array", item);
  }

  bool string(std::string& out) {
    out.clear();
    if (!take('"', "a string")) return false;
    for (;;) {
      const char c = front();
      if (at_ == text_.size()) return refuse("the text ends inside a string");
      if (c == '"') return ++at_, true;
      if (static_cast<unsigned char>(c) < 0x20) return refuse("control character in a string");
      if (c == '\\') {
        if (!escape(out)) return false;
        continue;
      }
      const std::size_t n = utf8_length(text_.substr(at_));
      if (n == 0) return refuse("malformed UTF-8");
      out.append(text_, at_, n);
      at_ += n;
    }
  }

  // A whole number within 64 bits, without fraction and exponent.
  bool integer(std::int64_t& out) {
    if (peek() != kind::integer) return refuse("expected a whole number");
    const bool negative = front() == '-';
    if (negative) ++at_;
    if (!is_digit(front())) return refuse("expected a digit");
    const std::size_t first = at_;
    const std::uint64_t most =
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) + negative;
    std::uint64_t n = 0;
    for (; is_digit(front()); ++at_) {
      if (n == 0 && at_ > first) return refuse("number with a leading zero");
      const auto digit = static_cast<std::uint64_t>(front() - '0');
      if (n > (most - digit) / 10) return refuse("number beyond 64 bits");
      n = 10 * n + digit;
    }
    if (front() == '.' || front() == 'e' || front() == 'E') return refuse("expected a whole number");
    out = static_cast<std::int64_t>(negative ? 0 - n : n);
    return true;
  }

  // Only white space is left.
  bool end() {
    skip_space();
    return at_ == text_.size() || refuse("expected the end");
  }

  // Records an error at the present place, unless there is one already. Returns false.
  bool refuse(std::string what) {
    if (problem_.empty()) problem_ = std::move(what) + " at byte " + detail::text(base_ + at_);
    return false;
  }
  const std::string& problem() const { return problem_; }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  char front() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (front() == ' ' || front() == '\t' || front() == '\n' || front() == '\r') ++at_;
  }
  bool take(char c, const char* what) {
    skip_space();
    if (front() != c) return refuse(std::string("expected ") + what);
    ++at_;
    return true;
  }

  template <class F>
  bool list(char open, char close, const char* what, F&& item) {
    if (!take(open, what)) return false;
    if (depth_left_ == 0) return refuse("nested too deeply");
    --depth_left_;
    skip_space();
    if (front() != close) {
      do {
        if (!item()) return refuse("unexpected value");
        skip_space();
      } while (front() == ',' && ++at_);
    }
    ++depth_left_;
    return take(close, open == '{' ? "',' or '}'" : "',' or ']'");
  }

  bool escape(std::string& out) {
    ++at_;
    const char c = front();
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (const auto i = letters.find(c); i != letters.npos) {
      out += meanings[i];
      return ++at_, true;
    }
    unsigned code = 0;
    if (!unicode(code)) return false;
    if (code >= 0xdc00 && code <= 0xdfff) return refuse("second half of a surrogate pair alone");
    if (code >= 0xd800 && code <= 0xdbff) {
      unsigned low = 0;
      if (front() != '\\') return refuse("first half of a surrogate pair alone");
      ++at_;
      if (!unicode(low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return refuse("first half of a surrogate pair alone");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
    return true;
  }
  bool unicode(unsigned& code) {  // u and four digits
    if (front() != 'u') return refuse("unknown escape");
    ++at_;
    code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      constexpr std::string_view digits = "0123456789abcdef", capitals = "ABCDEF";
      if (const auto d = digits.find(front()); d != digits.npos)
        code = 16 * code + static_cast<unsigned>(d);
      else if (const auto e = capitals.find(front()); e != capitals.npos)
        code = 16 * code + 10 + static_cast<unsigned>(e);
      else
        return refuse("expected four hexadecimal digits");
    }
    return true;
  }
  static void append_utf8(std::string& out, unsigned code) {
    const auto put = [&](unsigned byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    const auto tail = [&](unsigned shift) { put(0x80u | ((code >> shift) & 0x3fu)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) return put(0xc0u | (code >> 6)), tail(0);
    if (code < 0x10000) return put(0xe0u | (code >> 12)), tail(6), tail(0);
    put(0xf0u | (code >> 18)), tail(12), tail(6), tail(0);
  }

  std::string_view text_;
  std::size_t base_, at_ = 0;
  int depth_left_;
  std::string problem_;
};

}  // namespace mneme::inline MNEME_ABI
