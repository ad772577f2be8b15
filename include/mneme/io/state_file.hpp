// SPDX-License-Identifier: Apache-2.0
// State files: the past of a stream on disk, as a safetensors container that refuses whatever does not fit.
#pragma once
#include "../core/leaf.hpp"
#include "../core/scan.hpp"
#include "hash.hpp"
#include "json.hpp"
#include "safetensors_writer.hpp"

#include <deque>
#include <optional>
#include <set>

namespace mneme::inline MNEME_ABI {

// What is known about a saved state. The first three say what the state belongs to and must be the same when
// it is loaded (empty is a value like any other); `note` and `position` (tokens seen, the caller's count) are
// handed back.
struct state_info {
  std::string kind = {};                 // which memory: "kv_attention<float>"
  std::string config_hash = {};          // of which shape
  std::string weights_fingerprint = {};  // under which checkpoint: see weights_fingerprint()
  std::string note = {};
  index_t position = 0;
  std::string library_version = {};  // filled in by loading, ignored by saving

  friend bool operator==(const state_info&, const state_info&) = default;
};

namespace detail {

inline std::string_view type_name(element e) {
  constexpr std::string_view names[] = {"F32", "F64", "BF16", "I8",  "U8", "I16",
                                        "U16", "I32", "U32",  "I64", "U64"};
  return names[static_cast<std::size_t>(e)];
}

// The checksum stands first in the file (its key sorts first), at a fixed place, and covers every other byte.
inline constexpr std::string_view before_checksum = "{\"__metadata__\":{\"checksum\":\"";
inline constexpr std::size_t checksum_at = 8 + before_checksum.size(), checksum_digits = 16;
inline std::string state_checksum(std::span<const std::byte> file) {
  return hex(hash64(file.subspan(checksum_at + checksum_digits), hash64(file.first(checksum_at))));
}

// Checks everything but the tensors. Returns what the file says.
inline expected<state_info> read_info(const safetensors_file& file, std::span<const std::byte> bytes) {
  const auto wrong = [&](const char* key, const std::string& expected) {
    const auto found = file.metadata().find(key);
    return message(file.name(), ": ", key, " is ",
                   found == file.metadata().end() ? "missing" : shown(found->second), ", expected ",
                   expected);
  };
  const auto text = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (text("format") != "mneme.state") return wrong("format", "\"mneme.state\"");
  const std::string version = text("format_version");
  if (version.size() < 3 || !version.starts_with("1.") ||
      version.find_first_not_of("0123456789", 2) != version.npos)
    return wrong("format_version", "1.x");
  byte_cursor in(bytes, 8);
  std::string_view head, digits;  // compared as they stand in the file
  if (!in.take(head, before_checksum.size()) || head != before_checksum || !in.take(digits, checksum_digits))
    return wrong("checksum", "16 digits at byte " + detail::text(checksum_at));
  if (const std::string actual = state_checksum(bytes); digits != actual)
    return wrong("checksum", shown(actual) + " for these bytes: the file is damaged");
  for (const char* key :
       {"kind", "config_hash", "weights_fingerprint", "note", "library_version", "position"})
    if (!file.metadata().contains(key)) return wrong(key, "a text");
  state_info info{text("kind"),           text("config_hash"), text("weights_fingerprint"), text("note"), 0,
                  text("library_version")};
  const std::string position = text("position");
  std::int64_t number = 0;
  if (!json_cursor(position).integer(number) || detail::text(number) != position)
    return wrong("position", "a number");
  info.position = static_cast<index_t>(number);
  return info;
}

inline status same_origin(const std::string& name, const state_info& found, const state_info& expected) {
  const auto differ = [&](const char* key, const std::string& is, const std::string& wanted) {
    return message(name, ": ", key, " is ", shown(is), ", expected ", shown(wanted));
  };
  if (found.kind != expected.kind) return differ("kind", found.kind, expected.kind);
  if (found.config_hash != expected.config_hash)
    return differ("config_hash", found.config_hash, expected.config_hash);
  if (found.weights_fingerprint != expected.weights_fingerprint)
    return differ("weights_fingerprint", found.weights_fingerprint, expected.weights_fingerprint);
  return {};
}

// The tensor of a leaf: same name, same element type, a scalar for a scalar, a list for a buffer.
inline expected<tensor_view> tensor_of_leaf(const safetensors_file& file, const std::string& name,
                                            const leaf& l) {
  auto found = file.tensor(name);
  if (!found) return found;
  const tensor_view& t = *found;
  const bool fits = t.type == type_name(l.type) && t.shape.size() == (l.scalar ? 0u : 1u) &&
                    t.bytes.size() % static_cast<std::size_t>(l.element_bytes) == 0 &&
                    (l.scalar || l.resize != nullptr || t.shape[0] == l.count);
  if (fits) return found;
  return message(file.name(), ": tensor ", shown(name), " is ", std::string(t.type), " ", shape_text(t.shape),
                 ", expected ", std::string(type_name(l.type)), " ",
                 l.scalar   ? "[]"
                 : l.resize ? "[any]"
                            : "[" + detail::text(l.count) + "]");
}

// Gives `s` the counts and elements of the file. Errors leave it half done.
template <class S>
status fill_leaves(const safetensors_file& file, S& s) {
  std::set<std::string, text_order> names;
  std::vector<tensor_view> tensors;
  std::optional<mneme::error> problem;
  visit_leaves(s, [&](const field_path& at, const leaf& l) {
    if (problem) return;
    auto t = tensor_of_leaf(file, at.text(), l);
    if (!t) return void(problem = t.error());
    names.insert(at.text());
    tensors.push_back(std::move(*t));
  });
  if (problem) return *problem;
  for (const auto& [name, tensor] : file.tensors())
    if (!names.contains(name))
      return message(file.name(), ": unknown tensor ", shown(name), ", no field of the state has this name");

  std::size_t next = 0;
  visit_leaves(s, [&](const field_path&, const leaf& l) {
    const tensor_view& t = tensors[next++];
    if (!l.scalar && t.shape[0] != l.count) l.resize(l.owner, t.shape[0]);
  });
  next = 0;
  visit_leaves(s, [&](const field_path& at, const leaf& l) {  // anew: elements have moved
    const tensor_view& t = tensors[next++];
    if (l.bytes() == t.bytes.size()) return l.copy_from(t.bytes.data());
    if (!problem)
      problem = message(file.name(), ": tensor ", shown(at.text()), " has ", t.bytes.size(),
                        " bytes, expected whole pages of ", l.page_bytes);
  });
  if (problem) return *problem;
  return {};
}

template <class S, class Check>
expected<state_info> load_checked(std::span<const std::byte> bytes, const std::string& name, S& s,
                                  const state_info& expected, Check&& check) {
  const auto file = safetensors_file::parse(bytes, nullptr, name);
  if (!file) return file.error();
  auto info = read_info(*file, bytes);
  if (!info) return info;
  if (status ok = same_origin(name, *info, expected); !ok) return ok.error();
  S next = s;  // lives where s lives
  if (status ok = fill_leaves(*file, next); !ok) return ok.error();
  if (status ok = check(std::as_const(next)); !ok) return message(name, ": ", ok.error().message());
  s = std::move(next);
  return info;
}

// Whether m can go on from s.
template <class M>
status check_state(const M& m, const state_t<M>& s) {
  if (!mneme::valid(m, s)) return message("the parts of the state do not fit each other or this memory");
  return {};
}

}  // namespace detail

// The state as the bytes of a file; equal states and infos give equal bytes.
// Errors: two leaves of one path, text in `info` that is not UTF-8.
template <HasFields S>
expected<std::vector<std::byte>> save_state(const S& s, const state_info& info) {
  std::vector<tensor_entry> entries;
  std::deque<buffer<std::byte>> joined;  // what does not lie together
  visit_leaves(s, [&](const field_path& at, const leaf& l) {
    const auto shape = l.scalar ? std::vector<index_t>{} : std::vector<index_t>{l.count};
    std::span<const std::byte> bytes(static_cast<const std::byte*>(l.data), l.page ? 0 : l.bytes());
    if (l.page) {
      joined.emplace_back(static_cast<index_t>(l.bytes()));
      l.copy_to(joined.back().data());
      bytes = {joined.back().data(), l.bytes()};
    }
    entries.push_back({at.text(), detail::type_name(l.type), shape, bytes});
  });
  auto file = write_safetensors(entries, {{"checksum", std::string(detail::checksum_digits, '0')},
                                          {"config_hash", info.config_hash},
                                          {"format", "mneme.state"},
                                          {"format_version", "1.0"},
                                          {"kind", info.kind},
                                          {"library_version", MNEME_VERSION_STRING},
                                          {"note", info.note},
                                          {"position", detail::text(info.position)},
                                          {"weights_fingerprint", info.weights_fingerprint}});
  if (!file) return file;
  const std::string checksum = detail::state_checksum(*file);
  std::memcpy(file->data() + detail::checksum_at, checksum.data(), checksum.size());
  return file;
}
// Writes a new file, syncs it and renames it to `path`. Errors: as above, and those of replace_file.
template <HasFields S>
status save_state(const std::string& path, const S& s, const state_info& info) {
  const auto file = save_state(s, info);
  if (!file) return message(path, ": ", file.error().message());
  const file_part part{*file};
  return replace_file(path, {&part, 1});
}

// Replaces s, a state made by init() of the memory that the file is for, by the saved one. Returns what the
// file says. Buffers take the count of the file. This form does not ask the memory whether the counts fit
// each other: give the memory too where the file is not trusted.
// Errors name the file and the metadata key or tensor: not a state file, a format version other than 1.x,
// damage (checksum), another kind, config_hash or weights_fingerprint than expected, tensors that are
// missing, unknown or of another type. s is then unchanged.
template <HasFields S>
expected<state_info> load_state(std::span<const std::byte> bytes, S& s, const state_info& expected) {
  return detail::load_checked(bytes, "state", s, expected, [](const S&) { return status(); });
}
template <HasFields S>
expected<state_info> load_state(const std::string& path, S& s, const state_info& expected) {
  const auto file = mapped_file::read(path);  // not mapped: what was checked must be what is copied
  if (!file) return file.error();
  return detail::load_checked((*file)->bytes(), path, s, expected, [](const S&) { return status(); });
}

// The same for a state of m, which is also asked whether it can go on from the saved state: see valid() in
// core/scan.hpp. A memory whose buffers change their size must be Validated, or no state but a fresh one is
// accepted.
template <Memory M>
expected<state_info> load_state(std::span<const std::byte> bytes, const M& m, state_t<M>& s,
                                const state_info& expected) {
  return detail::load_checked(bytes, "state", s, expected,
                              [&](const state_t<M>& next) { return detail::check_state(m, next); });
}
template <Memory M>
expected<state_info> load_state(const std::string& path, const M& m, state_t<M>& s,
                                const state_info& expected) {
  const auto file = mapped_file::read(path);
  if (!file) return file.error();
  return detail::load_checked((*file)->bytes(), path, s, expected,
                              [&](const state_t<M>& next) { return detail::check_state(m, next); });
}

// What a state file says about itself, without a state to load into.
// Errors: not a state file, another version, damage.
inline expected<state_info> read_state_info(std::span<const std::byte> bytes) {
  const auto file = safetensors_file::parse(bytes, nullptr, "state");
  if (!file) return file.error();
  return detail::read_info(*file, bytes);
}
inline expected<state_info> read_state_info(const std::string& path) {
  const auto contents = mapped_file::read(path);
  if (!contents) return contents.error();
  const auto file = safetensors_file::parse((*contents)->bytes(), nullptr, path);
  if (!file) return file.error();
  return detail::read_info(*file, (*contents)->bytes());
}

}  // namespace mneme::inline MNEME_ABI
