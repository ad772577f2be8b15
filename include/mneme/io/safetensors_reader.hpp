// SPDX-License-Identifier: Apache-2.0
// safetensors_file: a strict reader of the safetensors format, mapped.
//
//   u64 length of the header | header: JSON, may end in spaces | the bytes of all tensors, without holes
//   header: {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
#pragma once
#include "bytes.hpp"
#include "json.hpp"
#include "mapped_file.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

namespace mneme::inline MNEME_ABI {

using metadata_map = std::map<std::string, std::string, text_order>;

// One tensor in place. `type` is the name in the file: "F32", "BF16", "I64", ...
struct tensor_view {
  std::string_view type;
  std::vector<index_t> shape;
  std::span<const std::byte> bytes;
};

namespace detail {

inline constexpr std::size_t longest_safetensors_header = 100'000'000;  // as in the reference implementation

struct tensor_type {
  std::string_view name;
  index_t bytes;  // per element
};
inline constexpr tensor_type tensor_types[] = {{"F64", 8}, {"I64", 8},  {"U64", 8}, {"F32", 4}, {"I32", 4},
                                               {"U32", 4}, {"BF16", 2}, {"F16", 2}, {"I16", 2}, {"U16", 2},
                                               {"I8", 1},  {"U8", 1},   {"BOOL", 1}};
inline const tensor_type* find_tensor_type(std::string_view name) {
  const auto* const found = std::ranges::find(tensor_types, name, &tensor_type::name);
  return found == std::end(tensor_types) ? nullptr : found;
}

// The storage type of weights; none for integers.
inline std::optional<dtype> weight_type(std::string_view name) {
  for (const dtype t : {dtype::f32, dtype::f64, dtype::bf16, dtype::f16})
    if (name == info(t).name) return t;
  return std::nullopt;
}

// Bytes of a tensor; false if that overflows.
inline bool tensor_bytes(const tensor_type& type, std::span<const index_t> shape, index_t& bytes) {
  bytes = type.bytes;
  bool zero = false;  // [2^60, 2^60, 0] has no bytes
  for (const index_t n : shape) zero = zero || n == 0;
  if (zero) return bytes = 0, true;
  for (const index_t n : shape)
    if (!multiply(bytes, static_cast<std::uint64_t>(n))) return false;
  return true;
}

}  // namespace detail

// Nothing in the file is trusted; memory use stays within a small multiple of the header. Errors name the
// file, the tensor, and the byte offset where there is one. Copies share the mapping.
class safetensors_file {
 public:
  using tensor_map = std::map<std::string, tensor_view, text_order>;

  // Errors: those of mapped_file::open and of parse.
  static expected<safetensors_file> open(const std::string& path) {
    auto file = mapped_file::open(path);
    if (!file) return file.error();
    return parse((*file)->bytes(), *file, path);
  }

  // Bytes that `owner` keeps alive; with a null owner the caller does. `name` is for messages.
  // Errors: a header that is too long, no object, malformed, or with keys that the format does not know;
  // duplicate names; unknown types; sizes that overflow or do not match the shape; data with holes, overlaps
  // or a rest.
  static expected<safetensors_file> parse(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                          std::string name) {
    safetensors_file f;
    f.name_ = std::move(name);
    f.owner_ = std::move(owner);
    if (status s = f.read_header(bytes); !s) return s.error();
    if (status s = f.check_cover(); !s) return s.error();
    return f;
  }

  const std::string& name() const { return name_; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  const metadata_map& metadata() const { return metadata_; }
  const tensor_map& tensors() const { return tensors_; }
  bool contains(std::string_view tensor) const { return tensors_.find(tensor) != tensors_.end(); }
  // Errors: no such tensor.
  expected<tensor_view> tensor(std::string_view tensor) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end()) return message(name_, ": no tensor ", detail::shown(tensor));
    return found->second;
  }

 private:
  safetensors_file() = default;

  status read_header(std::span<const std::byte> bytes) {
    detail::byte_cursor in(bytes);
    std::uint64_t length = 0;
    std::string_view header;
    if (!in.take(length)) return message(name_, ": ", bytes.size(), " bytes are no safetensors file");
    // Looked at first: the length of what is no safetensors file says nothing.
    if (in.left() == 0 || bytes[in.at()] != std::byte{'{'}) {
      std::string_view start;
      detail::byte_cursor(bytes).take(start, std::min<std::size_t>(bytes.size(), 16));
      return message(name_, ": no safetensors file, expected { at byte 8: it begins with ",
                     detail::shown(start));
    }
    if (length > detail::longest_safetensors_header || !in.take(header, length))
      return message(name_, ": header of ", length, " bytes, the file has ", bytes.size());
    if (header.empty()) return message(name_, ": header of 0 bytes, expected an object");
    data_ = bytes.subspan(in.at());
    header = header.substr(0, header.find_last_not_of(' ') + 1);
    json_cursor json(header, 8);
    const bool ok = json.object([&](const std::string& key) {
      return key == "__metadata__" ? read_metadata(json) : read_tensor(json, key);
    });
    if (!ok || !json.end()) return message(name_, ": header: ", json.problem());
    return {};
  }

  bool read_metadata(json_cursor& json) {
    return json.object([&](const std::string& key) { return json.string(metadata_[key]); });
  }

  bool read_tensor(json_cursor& json, const std::string& name) {
    const auto refuse = [&](const std::string& what) {
      return json.refuse("tensor " + detail::shown(name) + " " + what);
    };
    std::string type;
    std::vector<index_t> shape, offsets;
    int members = 0;
    const bool ok = json.object([&](const std::string& key) {
      ++members;
      if (key == "dtype") return json.string(type);
      if (key == "shape") return read_numbers(json, shape);
      if (key == "data_offsets") return read_numbers(json, offsets);
      return refuse("has the unknown member " + detail::shown(key));
    });
    if (!ok) return refuse("is malformed");
    if (members != 3) return refuse("lacks a dtype, a shape or data_offsets");
    const detail::tensor_type* known = detail::find_tensor_type(type);
    if (known == nullptr) return refuse("has the unknown dtype " + detail::shown(type));
    index_t bytes = 0;
    if (!detail::tensor_bytes(*known, shape, bytes)) return refuse("is too large: " + shape_text(shape));
    if (offsets.size() != 2 || offsets[1] < offsets[0] || static_cast<std::size_t>(offsets[1]) > data_.size())
      return refuse("has data_offsets " + shape_text(offsets) + " in data of " + detail::text(data_.size()) +
                    " bytes");
    if (offsets[1] - offsets[0] != bytes)
      return refuse("has data_offsets " + shape_text(offsets) + ", expected " + detail::text(bytes) +
                    " bytes for " + type + " " + shape_text(shape));
    const auto place = data_.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(bytes));
    tensors_[name] = {known->name, std::move(shape), place};
    return true;
  }
  static bool read_numbers(json_cursor& json, std::vector<index_t>& numbers) {
    return json.array([&] {
      std::int64_t n = 0;
      if (!json.integer(n)) return false;
      if (n < 0 || !std::in_range<index_t>(n)) return json.refuse("number out of range");
      numbers.push_back(static_cast<index_t>(n));
      return true;
    });
  }

  // The tensors lie one after the other, from the first byte of the data to the last.
  status check_cover() const {
    std::vector<const tensor_map::value_type*> order;
    for (const auto& t : tensors_) order.push_back(&t);
    const auto from = [this](const auto* t) { return t->second.bytes.data() - data_.data(); };
    std::sort(order.begin(), order.end(), [&](auto* a, auto* b) {
      return std::pair(from(a), a->second.bytes.size()) < std::pair(from(b), b->second.bytes.size());
    });
    index_t end = 0;
    for (const auto* t : order) {
      if (from(t) != end)
        return message(name_, ": tensor ", detail::shown(t->first), " starts at offset ", from(t),
                       " of the data, expected ", end);
      end += static_cast<index_t>(t->second.bytes.size());
    }
    if (static_cast<std::size_t>(end) != data_.size())
      return message(name_, ": the tensors end at offset ", end, " of the data, expected ", data_.size());
    return {};
  }

  std::string name_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> data_;
  metadata_map metadata_;
  tensor_map tensors_;
};

}  // namespace mneme::inline MNEME_ABI
