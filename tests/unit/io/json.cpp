// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "files.hpp"

#include <mneme/io/json.hpp>

namespace {

// Takes whatever comes and writes it back in one spelling.
bool copy_value(mneme::json_cursor& in, std::string& out) {
  using kind = mneme::json_cursor::kind;
  const auto next = [&] {
    if (out.back() != '[' && out.back() != '{') out += ',';
  };
  switch (in.peek()) {
    case kind::object: {
      out += '{';
      const bool ok = in.object([&](const std::string& key) {
        next();
        out += mneme::json_quote(key) + ":";
        return copy_value(in, out);
      });
      out += '}';
      return ok;
    }
    case kind::array: {
      out += '[';
      const bool ok = in.array([&] {
        next();
        return copy_value(in, out);
      });
      out += ']';
      return ok;
    }
    case kind::string: {
      std::string s;
      if (!in.string(s)) return false;
      out += mneme::json_quote(s);
      return true;
    }
    case kind::integer: {
      std::int64_t n = 0;
      if (!in.integer(n)) return false;
      out += std::to_string(n);
      return true;
    }
    case kind::none: break;
  }
  return in.refuse("expected a value");
}

std::string copy(std::string_view text) {
  mneme::json_cursor in(text);
  std::string out = " ";
  return copy_value(in, out) && in.end() ? out.substr(1) : "error: " + in.problem();
}
bool refused(std::string_view text) { return copy(text).starts_with("error: "); }

}  // namespace

TEST_CASE("json values come back", "[io][json]") {
  CHECK(copy(" { \"a\" : [ 1 , -2, 0 ,[ ] , { } ] ,\t\"b\":\"x\"\r\n} ") ==
        R"({"a":[1,-2,0,[],{}],"b":"x"})");
  CHECK(copy("9223372036854775807") == "9223372036854775807");
  CHECK(copy("-9223372036854775808") == "-9223372036854775808");
  CHECK(copy("-0") == "0");
  CHECK(copy(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\uDE00")") ==
        "\"\\\"\\\\/\\u0008\\u000c\\u000a\\u000d\\u0009A\u00e9\u20ac\U0001f600\"");
  CHECK(copy("\"\\u0000\"") == "\"\\u0000\"");
  CHECK(copy("\"\u00e9\u20ac\U0001f600\x7f\"") == "\"\u00e9\u20ac\U0001f600\x7f\"");
}

TEST_CASE("malformed json is refused", "[io][json]") {
  const char* const texts[] = {"",
                               " ",
                               "{",
                               "[",
                               "]",
                               "}",
                               "{]",
                               "[}",
                               "[1,]",
                               "[,1]",
                               "[1 2]",
                               "{\"a\"}",
                               "{\"a\":}",
                               "{\"a\":1,}",
                               "{a:1}",
                               "{1:1}",
                               "{\"a\" 1}",
                               "{\"a\":1 \"b\":2}",
                               "1 2",
                               "[] []",
                               "01",
                               "-",
                               "-01",
                               "00",
                               "+1",
                               "1.5",
                               "1e3",
                               "1E3",
                               ".5",
                               "9223372036854775808",
                               "-9223372036854775809",
                               "99999999999999999999",
                               "true",
                               "null",
                               "NaN",
                               "'a'",
                               "\"",
                               "\"a",
                               "\"\\\"",
                               "\"\\",
                               "\"\\x\"",
                               "\"\\u12\"",
                               "\"\\u12g4\"",
                               "\"\\ud800\"",
                               "\"\\ud800x\"",
                               "\"\\ud800\\u0041\"",
                               "\"\\ud800\\n\"",
                               "\"\\udc00\"",
                               "\"\t\"",
                               "\"\n\"",
                               "// a\n1",
                               "1//",
                               "\xef\xbb\xbf{}"};
  for (const char* text : texts) {
    INFO(text);
    CHECK(refused(text));
  }
  CHECK(refused(std::string_view("\"\0\"", 3)));
  CHECK(refused(std::string_view("1\0", 2)));
  for (const char* malformed : {"\"\x80\"", "\"\xc0\x80\"", "\"\xc1\xbf\"", "\"\xc3\"", "\"\xe0\x9f\xbf\"",
                                "\"\xe2\x82\"", "\"\xed\xa0\x80\"", "\"\xf0\x8f\xbf\xbf\"",
                                "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xff\""})
    CHECK(copy(malformed) == "error: malformed UTF-8 at byte 1");
}

TEST_CASE("duplicate keys are refused, also when spelled differently", "[io][json]") {
  CHECK(copy(R"({"a":1,"b":2,"a":3})") == "error: duplicate key \"a\" at byte 19");
  CHECK(refused(R"({"a":1,"\u0061":3})"));
  CHECK(refused(R"({"x":{"a":1,"a":1}})"));
  CHECK(copy(R"({"a":{"a":1}})") == R"({"a":{"a":1}})");
}

TEST_CASE("nesting is bounded", "[io][json]") {
  const std::string deep(16, '['), close(16, ']');
  CHECK(copy(deep + close) == deep + close);
  CHECK(copy("[" + deep + close + "]") == "error: nested too deeply at byte 17");
  CHECK(refused(std::string(1000000, '[')));
}

TEST_CASE("damaged json is read without harm, and accepted text reads the same again", "[io][json]") {
  const auto good = io_test::bytes_of(R"({"a\u00e9\ud83d\ude00":[1,-23,{"b":"x\n"}],"":"","c":{"d":[]}} )");
  int wrong = 0, accepted = 0;
  const auto probe = [&](const io_test::bytes& bad) {
    const auto block = io_test::exact(bad);
    const std::string once = copy({reinterpret_cast<const char*>(block->data()), block->size()});
    if (once.starts_with("error: ")) return;
    ++accepted;
    if (copy(once) != once) ++wrong;
  };
  io_test::for_every_damage(good, probe);
  CHECK(wrong == 0);
  CHECK(accepted > 0);
}
