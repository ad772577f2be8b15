// SPDX-License-Identifier: Apache-2.0
#include "tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <compare>
#include <functional>
#include <optional>
#include <queue>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace mneme_stream {
namespace {

constexpr token_id no_token = -1;
constexpr std::int32_t normal_type = 1;
constexpr std::int32_t control_type = 3;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("tokenizer: " + what); }

// An entry as an error message shows it: on one line and not too long, whatever the file holds.
std::string quoted(std::string_view entry) {
  std::string shown(entry.substr(0, 80));
  std::replace_if(shown.begin(), shown.end(), [](char c) { return c >= 0 && c < ' '; }, '?');
  return '"' + shown + '"';
}

std::string label(const char* list, std::size_t index, std::string_view entry) {
  return list + (' ' + std::to_string(index)) + ' ' + quoted(entry);
}

// GPT-2's characters for bytes: Latin-1 where it prints, and U+0100 to U+0143 for the 68 other bytes.
constexpr std::array<int, 256 + 68> character_bytes() {
  std::array<int, 256 + 68> bytes{};
  bytes.fill(-1);
  std::size_t substitute = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    bytes[printable ? static_cast<std::size_t>(byte) : substitute++] = byte;
  }
  return bytes;
}

// The bytes that a token in this form stands for; nothing where it is not in this form.
std::optional<std::string> bytes_of_form(std::string_view form) {
  static constexpr auto table = character_bytes();
  std::string bytes;
  for (std::size_t i = 0; i < form.size(); ++i) {
    std::size_t character = static_cast<unsigned char>(form[i]);
    if (character >= 0x80) {  // the table ends below U+0144: no character takes more than two bytes
      const std::size_t second = i + 1 < form.size() ? static_cast<unsigned char>(form[++i]) : 0;
      if (character < 0xc2 || character > 0xdf || (second & 0xc0) != 0x80) return std::nullopt;
      character = (character & 0x1f) << 6 | (second & 0x3f);
    }
    if (character >= table.size() || table[character] < 0) return std::nullopt;
    bytes += static_cast<char>(table[character]);
  }
  return bytes;
}

struct pcre2_deleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using pattern = std::unique_ptr<pcre2_code, pcre2_deleter>;
using match_data = std::unique_ptr<pcre2_match_data, pcre2_deleter>;

pattern compile(std::string_view text) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pattern compiled(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                 PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr));
  if (!compiled) fail("PCRE2 refuses a pattern with error " + std::to_string(error));
  pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match interprets
  return compiled;
}

bool matches(const pattern& wanted, std::string_view text, std::uint32_t options, const match_data& data) {
  const int result = pcre2_match(wanted.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                 options, data.get(), nullptr);
  const bool invalid_utf8 = result <= PCRE2_ERROR_UTF8_ERR1 && result >= PCRE2_ERROR_UTF8_ERR21;
  if (result < 0 && result != PCRE2_ERROR_NOMATCH && !invalid_utf8)
    fail("PCRE2 fails to match with error " + std::to_string(result));
  return result >= 0;
}

struct range {
  std::size_t begin, end;
};

// The first match in valid UTF-8, or the empty range at its end. Were PCRE2 to check what is left of it at
// every call, that would cost the square of its length.
range find(const pattern& wanted, std::string_view text, const match_data& data) {
  if (!matches(wanted, text, PCRE2_NO_UTF_CHECK, data)) return {text.size(), text.size()};
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
  return {bounds[0], bounds[1]};
}

// Two passes: every number character is a piece of its own, and GPT-2's pattern cuts what lies between them.
// White space is spelt out, for PCRE2's \s takes in U+180E, which is none since Unicode 6.3.
class pre_tokenizer {
 public:
  // The text with U+FFFD for each byte of no valid character. PCRE2 finds them: it checks a text before it
  // matches, and the empty pattern leaves nothing but the check.
  std::string repaired(std::string_view text) const {
    const match_data data(pcre2_match_data_create(1, nullptr));
    std::string valid;
    while (!matches(empty_, text, 0, data)) {
      const std::size_t invalid = pcre2_get_startchar(data.get());
      valid.append(text.substr(0, invalid)).append("\xef\xbf\xbd");
      text.remove_prefix(invalid + 1);
    }
    return valid.append(text);
  }

  template <class Visit>
  void for_each_piece(std::string_view text, Visit&& visit) const {
    const match_data data(pcre2_match_data_create(1, nullptr));
    while (!text.empty()) {
      const auto [begin, end] = find(number_, text, data);
      for (std::string_view words = text.substr(0, begin); !words.empty();) {
        const std::size_t length = find(word_, words, data).end;  // it matches anywhere, so at the start
        visit(words.substr(0, length));
        words.remove_prefix(length);
      }
      if (begin < end) visit(text.substr(begin, end - begin));
      text.remove_prefix(end);
    }
  }

 private:
  pattern empty_ = compile("");
  pattern number_ = compile(R"(\p{N})");
  pattern word_ = compile(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\t-\r\x{85}\p{Z}\p{L}\p{N}]+)"
                          R"(|[\t-\r\x{85}\p{Z}]+(?![^\t-\r\x{85}\p{Z}])|[\t-\r\x{85}\p{Z}]+)");
};

struct merge {
  std::size_t rank;
  token_id product;
};
using merge_map = std::unordered_map<std::uint64_t, merge>;  // by the ids that a merge joins
using byte_map = std::array<token_id, 256>;

std::uint64_t merge_key(token_id left, token_id right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// Merges the bytes of one piece after the other; it only outlives a piece to keep its memory.
class piece_merger {
 public:
  piece_merger(const merge_map& merges, const byte_map& byte_tokens)
      : merges_(merges), byte_tokens_(byte_tokens) {}

  // Appends the tokens of the piece and returns how many of its bytes have none.
  std::size_t append(std::string_view piece, std::vector<token_id>& out) {
    symbols_.clear();
    for (std::size_t at = 0; at < piece.size(); ++at)
      symbols_.push_back({byte_tokens_[static_cast<unsigned char>(piece[at])], at - 1, at + 1});
    for (std::size_t at = 0; at < piece.size(); ++at) propose(at);
    while (!candidates_.empty()) {
      const candidate best = candidates_.top();
      candidates_.pop();
      apply(best);
    }
    std::size_t dropped = 0;
    for (std::size_t at = 0; at < piece.size(); at = symbols_[at].next) {
      if (symbols_[at].id == no_token)
        ++dropped;
      else
        out.push_back(symbols_[at].id);
    }
    return dropped;
  }

 private:
  // A list over the bytes of the piece: a merge leaves its product at the left symbol and unlinks the right
  // one. What lies before the first and after the last is no index of a symbol.
  struct symbol {
    token_id id;
    std::size_t previous, next;
  };
  struct candidate {
    std::size_t rank, at;
    token_id left, right, product;
    auto operator<=>(const candidate&) const = default;  // by rank, then from left to right
  };

  void propose(std::size_t at) {
    if (at >= symbols_.size() || symbols_[at].next >= symbols_.size()) return;
    const token_id left = symbols_[at].id, right = symbols_[symbols_[at].next].id;
    const auto found = merges_.find(merge_key(left, right));
    if (found != merges_.end())
      candidates_.push({found->second.rank, at, left, right, found->second.product});
  }

  void apply(const candidate& best) {
    symbol& left = symbols_[best.at];
    if (left.id != best.left || left.next >= symbols_.size()) return;  // a merge since took one of the two
    symbol& right = symbols_[left.next];
    if (right.id != best.right) return;
    left.id = best.product;
    left.next = right.next;
    right.id = no_token;  // voids the candidates that start there
    if (left.next < symbols_.size()) symbols_[left.next].previous = best.at;
    propose(left.previous);
    propose(best.at);
  }

  const merge_map& merges_;
  const byte_map& byte_tokens_;
  std::vector<symbol> symbols_;
  std::priority_queue<candidate, std::vector<candidate>, std::greater<>> candidates_;  // least first
};

}  // namespace

struct tokenizer::tables {
  explicit tables(const vocabulary& entries) {
    const auto& [tokens, types, merge_list] = entries;
    if (tokens.size() != types.size())
      fail(std::to_string(tokens.size()) + " tokens but " + std::to_string(types.size()) + " token types");
    byte_tokens.fill(no_token);
    for (std::size_t i = 0; i < tokens.size(); ++i) add_token(i, tokens[i], types[i]);
    for (std::size_t i = 0; i < merge_list.size(); ++i) add_merge(i, merge_list[i]);
    std::sort(controls.begin(), controls.end(),
              [this](token_id a, token_id b) { return bytes_of(a).size() > bytes_of(b).size(); });
  }

  void add_token(std::size_t index, const std::string& name, std::int32_t type) {
    const token_id id = static_cast<token_id>(index);
    if (name.empty()) fail(label("token", index, name) + " is empty");
    if (const auto [twin, added] = ids.emplace(name, id); !added)
      fail(label("token", index, name) + " repeats token " + std::to_string(twin->second));
    if (type != normal_type && type != control_type)
      fail(label("token", index, name) + " has type " + std::to_string(type) +
           ", neither 1 (normal) nor 3 (control)");
    if (type == control_type) {
      controls.push_back(id);
      control_starts += name.front();
      bytes.push_back(name);
      return;
    }
    std::optional<std::string> decoded = bytes_of_form(name);
    if (!decoded) fail(label("token", index, name) + " is not in GPT-2's byte-to-character form");
    if (decoded->size() == 1) byte_tokens[static_cast<unsigned char>(decoded->front())] = id;
    bytes.push_back(*std::move(decoded));
  }

  void add_merge(std::size_t rank, const std::string& text) {
    const std::size_t space = text.find(' ');
    if (space == 0 || space >= text.size() - 1 || text.find(' ', space + 1) != text.npos)
      fail(label("merge", rank, text) + " is not two tokens with one space between them");
    // A control token is no part and no product: plain text must never turn into one.
    const auto normal = [&](const std::string& name) {
      const auto found = ids.find(name);
      if (found == ids.end() || is_control(found->second))
        fail(label("merge", rank, text) + ": " + quoted(name) + " is not a normal token");
      return found->second;
    };
    const std::string left = text.substr(0, space), right = text.substr(space + 1);
    const std::uint64_t key = merge_key(normal(left), normal(right));
    if (const auto [twin, added] = merges.emplace(key, merge{rank, normal(left + right)}); !added)
      fail(label("merge", rank, text) + " repeats merge " + std::to_string(twin->second.rank));
  }

  const std::string& bytes_of(token_id id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= bytes.size())
      fail("no token " + std::to_string(id) + " in a vocabulary of " + std::to_string(bytes.size()));
    return bytes[static_cast<std::size_t>(id)];
  }

  bool is_control(token_id id) const {
    return std::find(controls.begin(), controls.end(), id) != controls.end();
  }

  // The first place where a control token stands, and the longest one there; else the end of the text.
  range find_control(std::string_view text, token_id& id) const {
    for (std::size_t at = 0; (at = text.find_first_of(control_starts, at)) != text.npos; ++at)
      for (const token_id control : controls)
        if (const std::string& name = bytes_of(control); text.substr(at).starts_with(name)) {
          id = control;
          return {at, at + name.size()};
        }
    return {text.size(), text.size()};
  }

  std::vector<std::string> bytes;  // what the tokens decode to
  std::unordered_map<std::string, token_id> ids;
  std::vector<token_id> controls;  // longest first
  std::string control_starts;      // the bytes that they start with
  byte_map byte_tokens{};
  merge_map merges;
  pre_tokenizer pieces;
};

tokenizer::tokenizer(const vocabulary& entries) : tables_(std::make_shared<const tables>(entries)) {}

std::vector<token_id> tokenizer::encode(std::string_view utf8, bool parse_special,
                                        std::size_t* dropped_bytes) const {
  const std::string valid = tables_->pieces.repaired(utf8);
  piece_merger merger(tables_->merges, tables_->byte_tokens);
  std::vector<token_id> ids;
  std::size_t dropped = 0;
  for (std::string_view rest = valid; !rest.empty();) {
    token_id control = no_token;
    range special{rest.size(), rest.size()};
    if (parse_special) special = tables_->find_control(rest, control);
    tables_->pieces.for_each_piece(rest.substr(0, special.begin),
                                   [&](std::string_view piece) { dropped += merger.append(piece, ids); });
    if (control != no_token) ids.push_back(control);
    rest.remove_prefix(special.end);
  }
  if (dropped_bytes) *dropped_bytes = dropped;
  return ids;
}

std::string tokenizer::decode(std::span<const token_id> ids) const {
  std::string text;
  for (const token_id id : ids) text += bytes_of(id);
  return text;
}

std::string_view tokenizer::bytes_of(token_id id) const { return tables_->bytes_of(id); }
std::size_t tokenizer::size() const { return tables_->bytes.size(); }
bool tokenizer::is_control(token_id id) const { return tables_->is_control(id); }

token_id tokenizer::id_of(std::string_view token) const {
  const auto found = tables_->ids.find(std::string(token));
  if (found == tables_->ids.end()) fail("the vocabulary has no token " + quoted(token));
  return found->second;
}

std::string chat_turn(const message& turn) {
  return "<|im_start|>" + turn.role + '\n' + turn.text + "<|im_end|>\n";
}

std::string chat_prompt(std::span<const message> conversation, bool ask_for_answer) {
  std::string prompt;
  if (!conversation.empty() && conversation.front().role != "system")
    prompt = chat_turn({"system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"});
  for (const message& turn : conversation) prompt += chat_turn(turn);
  return ask_for_answer ? prompt + "<|im_start|>assistant\n" : prompt;
}

}  // namespace mneme_stream
