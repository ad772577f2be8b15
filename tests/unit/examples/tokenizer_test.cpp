// SPDX-License-Identifier: Apache-2.0
#include "../../../examples/stream/tokenizer.hpp"

#include "catch.hpp"

#include <algorithm>
#include <initializer_list>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>

using namespace mneme_stream;

namespace {

using strings = std::vector<std::string>;
using pairs = std::vector<std::pair<std::string, std::string>>;

std::string bytes(std::initializer_list<std::uint32_t> values) {
  std::string out;
  for (const std::uint32_t value : values) out += static_cast<char>(static_cast<unsigned char>(value));
  return out;
}

std::string utf8(std::uint32_t c) {
  const auto tail = [c](int shift) { return 0x80 | (c >> shift & 0x3f); };
  if (c < 0x80) return bytes({c});
  if (c < 0x800) return bytes({0xc0 | c >> 6, tail(0)});
  if (c < 0x10000) return bytes({0xe0 | c >> 12, tail(6), tail(0)});
  return bytes({0xf0 | c >> 18, tail(12), tail(6), tail(0)});
}

// GPT-2's byte-to-character form, in the words of its definition: '!' to '~', U+00A1 to U+00AC and U+00AE to
// U+00FF stay, the n-th other byte becomes U+0100 + n.
std::string form(const std::string& raw) {
  const auto stays = [](int b) { return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  std::string out;
  for (const char c : raw) {
    const int byte = static_cast<unsigned char>(c);
    int others = 0;
    for (int b = 0; b < byte; ++b) others += !stays(b);
    out += utf8(static_cast<std::uint32_t>(stays(byte) ? byte : 256 + others));
  }
  return out;
}

// Three control tokens, every byte but 04 and F1, and what the merges (given as bytes) make.
const strings controls{"<|im_start|>", "<x>", "<x>y"};

vocabulary made_up(const pairs& merges) {
  vocabulary v{controls, std::vector<std::int32_t>(controls.size(), 3), {}};
  std::set<std::string> known;
  const auto add = [&](const std::string& raw) {
    if (!known.insert(raw).second) return;
    v.tokens.push_back(form(raw));
    v.types.push_back(1);
  };
  for (int byte = 0; byte < 256; ++byte)
    if (byte != 0x04 && byte != 0xf1) add(std::string(1, static_cast<char>(byte)));
  for (const auto& [left, right] : merges) {
    add(left + right);
    v.merges.push_back(form(left) + ' ' + form(right));
  }
  return v;
}

strings tokens(const tokenizer& t, std::string_view text, bool parse_special = false) {
  strings out;
  for (const token_id id : t.encode(text, parse_special)) out.emplace_back(t.bytes_of(id));
  return out;
}

// The pieces of a text: with a merge for every split of every part of it, each piece becomes one token.
strings pieces(const std::string& text) {
  std::set<std::pair<std::string, std::string>> merges;
  for (std::size_t begin = 0; begin < text.size(); ++begin)
    for (std::size_t end = begin + 2; end <= text.size(); ++end)
      for (std::size_t middle = begin + 1; middle < end; ++middle)
        merges.emplace(text.substr(begin, middle - begin), text.substr(middle, end - middle));
  return tokens(tokenizer(made_up({merges.begin(), merges.end()})), text);
}

// Byte-level BPE by its definition: apply the first merge of the list that fits, leftmost, until none does.
strings merged_by_definition(const pairs& merges, const std::string& piece) {
  strings parts;
  for (const char c : piece) parts.emplace_back(1, c);
  for (bool changed = true; std::exchange(changed, false);)
    for (const auto& [left, right] : merges) {
      const strings wanted{left, right};
      const auto at = std::search(parts.begin(), parts.end(), wanted.begin(), wanted.end());
      if (at == parts.end()) continue;
      *at = left + right;
      parts.erase(at + 1);
      changed = true;
      break;
    }
  return parts;
}

template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "no error";
}

std::string refusal(const vocabulary& v) {
  return error_of([&] { tokenizer{v}; });
}

}  // namespace

TEST_CASE("tokenizer: the merge of lowest rank comes first, then the leftmost", "[examples][tokenizer]") {
  CHECK(tokens(tokenizer(made_up({{"b", "c"}, {"a", "b"}})), "abc") == strings{"a", "bc"});
  CHECK(tokens(tokenizer(made_up({{"a", "b"}, {"b", "c"}})), "abc") == strings{"ab", "c"});
  CHECK(tokens(tokenizer(made_up({{"b", "c"}, {"a", "bc"}})), "abcabc") == strings{"abc", "abc"});
  CHECK(tokens(tokenizer(made_up({{"a", "a"}})), "aaaaa") == strings{"aa", "aa", "a"});
}

TEST_CASE("tokenizer: merging follows the definition on random merges", "[examples][tokenizer]") {
  std::mt19937 random(20260);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 30; ++round) {
    strings known{"a", "b", "c"};
    pairs merges;
    while (merges.size() < 24) {
      const std::pair<std::string, std::string> next{known[below(known.size())], known[below(known.size())]};
      if (std::find(merges.begin(), merges.end(), next) != merges.end()) continue;
      merges.push_back(next);
      known.push_back(next.first + next.second);
    }
    const tokenizer t(made_up(merges));
    for (int text = 0; text < 20; ++text) {
      std::string piece(below(60), ' ');
      for (char& c : piece) c = static_cast<char>('a' + below(3));
      CHECK(tokens(t, piece) == merged_by_definition(merges, piece));
    }
  }
}

TEST_CASE("tokenizer: a long piece is not slow", "[examples][tokenizer]") {
  // Work that grew with the square of the length would take minutes here.
  const tokenizer t(made_up({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  const auto ids = t.encode(std::string(400'000, 'a'), true);
  CHECK(ids == std::vector<token_id>(50'000, t.id_of("aaaaaaaa")));
}

TEST_CASE("tokenizer: the smollm pre-tokenizer", "[examples][tokenizer]") {
  const std::vector<std::pair<std::string, strings>> cases{
      {"don't I'LL we've", {"don", "'t", " I", "'", "LL", " we", "'ve"}},
      {"a  b   c", {"a", " ", " b", "  ", " c"}},
      {"x=3.14;", {"x", "=", "3", ".", "1", "4", ";"}},
      {" 2026", {" ", "2", "0", "2", "6"}},
      {"a  1", {"a", "  ", "1"}},  // the first pass ends the text before the digit
      {"\u2177 \u00bd\u00b2", {"\u2177", " ", "\u00bd", "\u00b2"}},
      {"\u0661\u0662 \u096a", {"\u0661", "\u0662", " ", "\u096a"}},
      {"hi!? \u00e9t\u00e9", {"hi", "!?", " \u00e9t\u00e9"}},
      {"e\u0301", {"e", "\u0301"}},
      {"\U0001f642\U0001f642 x", {"\U0001f642\U0001f642", " x"}},
      {"a \n", {"a", " \n"}},
      {"a \nb", {"a", " ", "\n", "b"}},
      {"a\u00a0\u00a0b", {"a", "\u00a0", "\u00a0", "b"}},
      {"!\u0085!", {"!", "\u0085", "!"}},
      {"!\u2028!", {"!", "\u2028", "!"}},
      {"!\u180e!", {"!\u180e!"}},  // no white space, though PCRE2's \s matches it
      {"a  \u180e!", {"a", " ", " \u180e!"}},
      {"!\x1c!", {"!\x1c!"}},
  };
  for (const auto& [text, expected] : cases) CHECK(pieces(text) == expected);
}

TEST_CASE("tokenizer: control tokens are cut out on demand, the longest first", "[examples][tokenizer]") {
  const tokenizer t(made_up({{"h", "i"}}));
  CHECK(tokens(t, "hi<x>hi", true) == strings{"hi", "<x>", "hi"});
  CHECK(tokens(t, "<x>y<x><x", true) == strings{"<x>y", "<x>", "<", "x"});
  CHECK(tokens(t, "<|im_start|>", true) == strings{"<|im_start|>"});
  CHECK(tokens(t, "<x>hi", false) == strings{"<", "x", ">", "hi"});
  CHECK(t.encode("<|im_start|>", true) == std::vector<token_id>{t.id_of("<|im_start|>")});
  for (const token_id id : t.encode("<|im_start|><x>y", false)) CHECK_FALSE(t.is_control(id));
  CHECK(t.is_control(t.id_of("<x>")));
  CHECK(t.encode(std::string_view{}, true).empty());
}

TEST_CASE("tokenizer: bytes without a token are dropped and counted", "[examples][tokenizer]") {
  const tokenizer t(made_up({{"!", "!"}}));
  std::size_t dropped = 99;
  CHECK(t.decode(t.encode("a\x04"
                          "b",
                          false, &dropped)) == "ab");
  CHECK(dropped == 1);
  CHECK(t.encode("!\x04!", false, &dropped).size() == 2);  // nothing merges across the gap
  CHECK(t.decode(t.encode("\U00040000", true, &dropped)) == "\x80\x80\x80");
  CHECK(dropped == 1);
  CHECK(tokens(t, "!!", true) == strings{"!!"});
  t.encode("fine", true, &dropped);
  CHECK(dropped == 0);
}

TEST_CASE("tokenizer: each byte that is no UTF-8 is read as U+FFFD", "[examples][tokenizer]") {
  const tokenizer t(made_up({}));
  const std::string r = "\ufffd";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a\xff"
       "b",
       "a" + r + "b"},                      // no lead byte
      {"\x80", r},                          // a continuation without one
      {"\xe2\x82", r + r},                  // cut short by the end
      {"\xe2\x82!", r + r + "!"},           // and by another character
      {"\xc0\x80", r + r},                  // overlong
      {"\xed\xa0\x80", r + r + r},          // a surrogate
      {"\xf4\x90\x80\x80", r + r + r + r},  // above U+10FFFF
      {"\u00e9\xc3\u00e9", "\u00e9" + r + "\u00e9"},
  };
  for (const auto& [text, expected] : cases) CHECK(t.decode(t.encode(text, true)) == expected);
}

TEST_CASE("tokenizer: decode inverts encode", "[examples][tokenizer]") {
  const tokenizer t(made_up({{"e", "r"}, {" ", "t"}, {"\xc3", "\xa9"}, {"\xe2", "\x80"}, {"\n", "\n"}}));
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < 100; ++i) {
      const std::size_t limit = std::vector<std::size_t>{0x80, 0x800, 0x10000, 0x40000}[random() % 4];
      const auto c = static_cast<std::uint32_t>(random() % limit);
      if (c != 0x04 && (c < 0xd800 || c > 0xdfff)) text += utf8(c);
      text += strings{"er", " t", "\u00e9", "<x>", "\n\n", "'s", "7"}[random() % 7];
    }
    std::size_t dropped = 99;
    CHECK(t.decode(t.encode(text, round % 2 == 0, &dropped)) == text);
    CHECK(dropped == 0);
  }
}

TEST_CASE("tokenizer: looking tokens up", "[examples][tokenizer]") {
  tokenizer t(made_up({{" ", "t"}}));
  const tokenizer copy = t;
  t = tokenizer(made_up({}));
  CHECK(copy.size() == t.size() + 1);
  CHECK(copy.bytes_of(copy.id_of("\u0120t")) == " t");
  CHECK(error_of([&] { t.id_of("\u0120t"); }) == "tokenizer: the vocabulary has no token \"\u0120t\"");
  CHECK(error_of([&] { t.bytes_of(257); }) == "tokenizer: no token 257 in a vocabulary of 257");
  CHECK(error_of([&] { t.decode(std::vector<token_id>{0, -1}); }) ==
        "tokenizer: no token -1 in a vocabulary of 257");
}

TEST_CASE("tokenizer: a vocabulary that does not fit together is refused", "[examples][tokenizer]") {
  CHECK(refusal(vocabulary{{"a", "b"}, {1}, {}}) == "tokenizer: 2 tokens but 1 token types");
  CHECK(refusal(vocabulary{{"a", ""}, {1, 1}, {}}) == "tokenizer: token 1 \"\" is empty");
  CHECK(refusal(vocabulary{{"a", "b", "a"}, {1, 1, 1}, {}}) == "tokenizer: token 2 \"a\" repeats token 0");
  CHECK(refusal(vocabulary{{"a", "b"}, {1, 4}, {}}) ==
        "tokenizer: token 1 \"b\" has type 4, neither 1 (normal) nor 3 (control)");
  for (const std::string bad : {"a b", "\u0144", "\u00ad", "\u20ac", "\xff", "\xc4",
                                "\xc4"
                                "a",
                                "\xc1\xa1"})
    CHECK(refusal(vocabulary{{"a", bad}, {1, 1}, {}}) ==
          "tokenizer: token 1 \"" + bad + "\" is not in GPT-2's byte-to-character form");
  CHECK(refusal(vocabulary{{"a\n"}, {1}, {}}) ==
        "tokenizer: token 0 \"a?\" is not in GPT-2's byte-to-character form");

  const auto with_merges = [](const strings& merges) {
    return vocabulary{{"a", "b", "ab", "<x>", "a<x>", "c", "<", "x>"}, {1, 1, 1, 3, 1, 1, 1, 1}, merges};
  };
  CHECK(refusal(with_merges({"a b", "< x"})) == "tokenizer: merge 1 \"< x\": \"x\" is not a normal token");
  for (const std::string bad : {"", " ", "ab", " b", "a ", "a  b", "a b c"})
    CHECK(refusal(with_merges({"a b", bad})) ==
          "tokenizer: merge 1 \"" + bad + "\" is not two tokens with one space between them");
  CHECK(refusal(with_merges({"q b"})) == "tokenizer: merge 0 \"q b\": \"q\" is not a normal token");
  CHECK(refusal(with_merges({"a c"})) == "tokenizer: merge 0 \"a c\": \"ac\" is not a normal token");
  CHECK(refusal(with_merges({"a <x>"})) == "tokenizer: merge 0 \"a <x>\": \"<x>\" is not a normal token");
  CHECK(refusal(with_merges({"< x>"})) == "tokenizer: merge 0 \"< x>\": \"<x>\" is not a normal token");
  CHECK(refusal(with_merges({"a b", "a b"})) == "tokenizer: merge 1 \"a b\" repeats merge 0");
}

TEST_CASE("tokenizer: the chat template", "[examples][tokenizer]") {
  const message user{"user", "hi"}, assistant{"assistant", "hello"}, system{"system", "Be brief."};
  const std::string preset =
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
  CHECK(chat_turn(user) == "<|im_start|>user\nhi<|im_end|>\n");
  CHECK(chat_prompt(std::vector{user}) == preset + chat_turn(user) + "<|im_start|>assistant\n");
  CHECK(chat_prompt(std::vector{user, assistant, user}, false) ==
        preset + chat_turn(user) + chat_turn(assistant) + chat_turn(user));
  CHECK(chat_prompt(std::vector{system, user}) ==
        chat_turn(system) + chat_turn(user) + "<|im_start|>assistant\n");
  CHECK(chat_prompt({}) == "<|im_start|>assistant\n");
}
