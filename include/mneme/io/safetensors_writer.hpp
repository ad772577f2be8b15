// SPDX-License-Identifier: Apache-2.0
// Writing safetensors: equal content gives equal bytes.
#pragma once
#include "replace_file.hpp"
#include "safetensors_reader.hpp"

namespace mneme::inline MNEME_ABI {

// One tensor to be written; `type` is a dtype name of the format, an empty shape makes a scalar.
struct tensor_entry {
  std::string name;
  std::string_view type;
  std::vector<index_t> shape;
  std::span<const std::byte> bytes;
};

namespace detail {

struct safetensors_layout {
  std::string head;              // length and header
  std::vector<file_part> parts;  // head first; points into head and into the entries
  std::size_t bytes = 0;
};

inline status check_entry(const tensor_entry& t) {
  const tensor_type* type = find_tensor_type(t.type);
  if (t.name == "__metadata__") return message("tensor ", shown(t.name), ": the format reserves this name");
  if (!is_utf8(t.name)) return message("tensor ", shown(t.name), ": the name is not UTF-8");
  if (type == nullptr)
    return message("tensor ", shown(t.name), ": no dtype ", shown(t.type), " in safetensors");
  index_t bytes = 0;
  for (const index_t n : t.shape)
    if (n < 0) return message("tensor ", shown(t.name), ": shape ", shape_text(t.shape));
  if (!tensor_bytes(*type, t.shape, bytes) || static_cast<std::size_t>(bytes) != t.bytes.size())
    return message("tensor ", shown(t.name), ": ", t.bytes.size(), " bytes do not fill ", std::string(t.type),
                   " ", shape_text(t.shape));
  return {};
}

// Wide elements first, as in the reference implementation, so that every tensor is aligned; names in order
// among these. The layout must stay where it is while its parts are in use.
inline status lay_out(std::span<const tensor_entry> entries, const metadata_map& metadata,
                      safetensors_layout& out) {
  std::vector<const tensor_entry*> order;
  for (const tensor_entry& t : entries) {
    if (status s = check_entry(t); !s) return s;
    order.push_back(&t);
  }
  const auto key = [](const tensor_entry* t) {
    return std::pair(-find_tensor_type(t->type)->bytes, std::string_view(t->name));
  };
  std::sort(order.begin(), order.end(), [&](auto* a, auto* b) { return a->name < b->name; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i]->name == order[i - 1]->name)
      return message("tensor ", shown(order[i]->name), ": two of this name");
  std::sort(order.begin(), order.end(), [&](auto* a, auto* b) { return key(a) < key(b); });

  std::string json = "{";
  const auto next = [&] { json += json.back() == '{' ? "" : ","; };
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [name, text] : metadata) {
      if (!is_utf8(name) || !is_utf8(text)) return message("metadata ", shown(name), ": not UTF-8");
      next();
      json += json_quote(name) + ":" + json_quote(text);
    }
    json += "}";
  }
  std::size_t end = 0;
  for (const tensor_entry* t : order) {
    const std::size_t begin = end;
    end += t->bytes.size();
    next();
    json += json_quote(t->name) + ":{\"dtype\":\"" + std::string(t->type) + "\",\"shape\":[";
    for (std::size_t i = 0; i < t->shape.size(); ++i) json += (i ? "," : "") + detail::text(t->shape[i]);
    json += "],\"data_offsets\":[" + detail::text(begin) + "," + detail::text(end) + "]}";
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > longest_safetensors_header)
    return message("a header of ", json.size(), " bytes is too long");

  const std::uint64_t length = json.size();
  out.head.assign(reinterpret_cast<const char*>(&length), sizeof length);
  out.head += json;
  out.parts.push_back({std::as_bytes(std::span(out.head))});
  for (const tensor_entry* t : order) out.parts.push_back({t->bytes});
  out.bytes = out.head.size() + end;
  return {};
}

}  // namespace detail

// The file as bytes. Errors name the tensor or the metadata key: a reserved, repeated or malformed name, a
// dtype that the format does not know, bytes that do not fill the shape, text that is not UTF-8.
inline expected<std::vector<std::byte>> write_safetensors(std::span<const tensor_entry> entries,
                                                          const metadata_map& metadata = {}) {
  detail::safetensors_layout layout;
  if (status s = detail::lay_out(entries, metadata, layout); !s) return s.error();
  std::vector<std::byte> bytes;
  bytes.reserve(layout.bytes);
  for (const auto [part] : layout.parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

// Writes a new file, syncs it and renames it to `path`. Errors: those of write_safetensors and of
// replace_file.
inline status save_safetensors(const std::string& path, std::span<const tensor_entry> entries,
                               const metadata_map& metadata = {}) {
  detail::safetensors_layout layout;
  if (status s = detail::lay_out(entries, metadata, layout); !s)
    return message(path, ": ", s.error().message());
  return replace_file(path, layout.parts);
}

}  // namespace mneme::inline MNEME_ABI
