// SPDX-License-Identifier: Apache-2.0
// json_cursor against nlohmann-json: both accept the same documents, within the subset, and see the same
// values.
#include "fuzz.hpp"

#include <mneme/io/json.hpp>
#include <nlohmann/json.hpp>

#include <optional>
#include <set>

namespace {

using nlohmann::json;
constexpr int deepest = 16;

bool take(mneme::json_cursor& in, json& out) {
  using kind = mneme::json_cursor::kind;
  switch (in.peek()) {
    case kind::object:
      out = json::object();
      return in.object([&](const std::string& key) {
        json value;
        if (!take(in, value)) return false;
        out[key] = std::move(value);
        return true;
      });
    case kind::array:
      out = json::array();
      return in.array([&] {
        out.emplace_back();
        return take(in, out.back());
      });
    case kind::string: {
      std::string text;
      if (!in.string(text)) return false;
      out = std::move(text);
      return true;
    }
    case kind::integer: {
      std::int64_t n = 0;
      if (!in.integer(n)) return false;
      out = n;
      return true;
    }
    case kind::none: break;
  }
  return in.refuse("expected a value");
}

// Refuses what the subset lacks. nlohmann-json would also skip a byte order mark and stop at a zero byte.
struct subset {
  std::vector<std::set<std::string>> keys;
  static bool null() { return false; }
  static bool boolean(bool) { return false; }
  static bool number_integer(json::number_integer_t) { return true; }
  static bool number_unsigned(json::number_unsigned_t n) { return std::in_range<std::int64_t>(n); }
  static bool number_float(json::number_float_t, const std::string&) { return false; }
  static bool string(const std::string&) { return true; }
  static bool binary(const json::binary_t&) { return false; }
  bool open() {
    keys.emplace_back();
    return keys.size() <= deepest;
  }
  bool close() {
    keys.pop_back();
    return true;
  }
  bool start_object(std::size_t) { return open(); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(); }
  bool end_array() { return close(); }
  bool key(const std::string& name) { return keys.back().insert(name).second; }
  static bool parse_error(std::size_t, const std::string&, const json::exception&) { return false; }
};

std::optional<json> oracle(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf") || text.find('\0') != text.npos) return std::nullopt;
  subset checks;
  if (!json::sax_parse(text, &checks)) return std::nullopt;
  return json::parse(text);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  mneme::json_cursor in(text, 0, deepest);
  json mine;
  const bool accepted = take(in, mine) && in.end();
  const std::optional<json> theirs = oracle(text);
  fuzz::require(accepted == theirs.has_value(), "json_cursor and nlohmann-json accept the same documents");
  fuzz::require(accepted == in.problem().empty(), "a refusal says why");
  if (accepted) fuzz::require(mine == *theirs, "json_cursor and nlohmann-json see the same values");
  if (mneme::is_utf8(text)) {
    const std::string quoted = mneme::json_quote(text);
    std::string back;
    fuzz::require(mneme::json_cursor(quoted).string(back) && back == text,
                  "json_quote and string are inverse");
  }
  return 0;
}
