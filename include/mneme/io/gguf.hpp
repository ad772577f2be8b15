// SPDX-License-Identifier: Apache-2.0
// gguf_file: a strict reader of mapped GGUF files (versions 2 and 3, little-endian).
#pragma once
#include "gguf_metadata.hpp"
#include "mapped_file.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// One row of the tensor table. `type` is ggml's number, `ne` its dimensions, innermost first.
struct gguf_tensor {
  std::string name;
  std::uint32_t type;
  int rank;
  std::array<index_t, 4> ne;
  std::uint64_t offset;  // in the data section
  std::size_t bytes;     // 0 if the type is none that a weight can store
  std::size_t at;        // byte offset of this row in the file
};

namespace detail {

inline bool weight_type_of_ggml(std::uint32_t type, dtype& t) {
  switch (type) {
    case 0: return t = dtype::f32, true;
    case 1: return t = dtype::f16, true;
    case 2: return t = dtype::q4_0, true;
    case 3: return t = dtype::q4_1, true;
    case 8: return t = dtype::q8_0, true;
    case 28: return t = dtype::f64, true;
    case 30: return t = dtype::bf16, true;
    default: return false;
  }
}

// "12 (Q4_K)". Empty names are types that ggml has removed.
inline std::string ggml_type_text(std::uint32_t type) {
  constexpr std::string_view names[] = {
      "F32",   "F16",    "Q4_0", "Q4_1", "",     "",        "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
      "Q3_K",  "Q4_K",   "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
      "IQ2_S", "IQ4_XS", "I8",   "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16"};
  const std::string number = detail::text(type);
  if (type >= std::size(names) || names[type].empty()) return number;
  return number + " (" + std::string(names[type]) + ")";
}

}  // namespace detail

// Nothing in the file is trusted: every count, length, offset and size is checked against the bytes that are
// there, and memory use stays within a small multiple of the file's own tables. Errors name the file, the key
// or tensor, and the byte offset. Copies share the mapping.
class gguf_file {
 public:
  // Errors: those of mapped_file::open and of parse.
  static expected<gguf_file> open(const std::string& path) {
    auto file = mapped_file::open(path);
    if (!file) return file.error();
    return parse((*file)->bytes(), *file, path);
  }

  // Bytes that `owner` keeps alive; with a null owner the caller does, and weights are copies. `name` is for
  // messages.
  // Errors: wrong magic or version; counts, lengths, nesting or offsets beyond the file; an alignment that is
  // no power of two; duplicate keys or names; tensors that overlap, leave the data section, overflow, or
  // whose rows do not fill blocks.
  static expected<gguf_file> parse(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                   std::string name) {
    gguf_file f;
    f.name_ = std::move(name);
    f.bytes_ = bytes;
    f.owner_ = std::move(owner);
    detail::byte_cursor in(bytes);
    std::uint64_t tensors = 0, keys = 0;
    if (status s = f.read_head(in, tensors, keys); !s) return s.error();
    for (; keys > 0; --keys)
      if (status s = f.read_key(in); !s) return s.error();
    if (status s = f.read_alignment(); !s) return s.error();
    for (; tensors > 0; --tensors)
      if (status s = f.read_tensor(in); !s) return s.error();
    if (status s = f.place_tensors(in.at()); !s) return s.error();
    return f;
  }

  const std::string& name() const { return name_; }
  std::uint32_t version() const { return version_; }
  std::size_t alignment() const { return alignment_; }
  std::size_t data_offset() const { return data_at_; }

  const std::map<std::string, gguf_value, text_order>& metadata() const { return metadata_; }
  bool has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }
  // The value of a key: get<std::uint32_t>("llama.block_count"), get<std::vector<std::string>>(...). An
  // integer of any type is accepted where its value fits, a float by a type at least as wide.
  // Errors: no such key, another type, a value out of range.
  template <GgufValue T>
  expected<T> get(std::string_view key) const {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) return message(name_, ": no key ", detail::shown(key));
    const gguf_value& v = found->second;
    T value{};
    const auto r = detail::decode_gguf(bytes_, v, value);
    if (r == detail::gguf_read::ok) return value;
    return message(name_, ": key ", detail::shown(key), " at byte ", v.at, " is ", detail::text_of(v),
                   r == detail::gguf_read::out_of_range ? " with a value out of range" : "", ", expected ",
                   detail::gguf_wanted<T>());
  }

  // In the order of the file, which is seldom the order of layers.
  const std::vector<gguf_tensor>& tensors() const { return tensors_; }
  std::vector<std::string> tensor_names() const {
    std::vector<std::string> names;
    for (const gguf_tensor& t : tensors_) names.push_back(t.name);
    return names;
  }
  bool contains(std::string_view tensor) const { return index_.find(tensor) != index_.end(); }
  // A weight that points into the file and shares its ownership (a copy where its place does not suit its
  // type). The shape is ne reversed: ne = {576, 192} gives [192, 576], W[out][in].
  // Errors: no such tensor, a storage type that weights do not have, 0 or 4 dimensions.
  expected<weight> tensor(std::string_view tensor) const {
    const auto found = index_.find(tensor);
    if (found == index_.end()) return message(name_, ": no tensor ", detail::shown(tensor));
    const gguf_tensor& t = tensors_[found->second];
    dtype type{};
    if (!detail::weight_type_of_ggml(t.type, type))
      return trouble(t, "has the unsupported type " + detail::ggml_type_text(t.type));
    if (t.rank < 1 || t.rank > 3)
      return trouble(t, "has " + detail::text(t.rank) + " dimensions, expected 1 to 3");
    std::array<index_t, 3> shape{1, 1, 1};
    for (int i = 0; i < t.rank; ++i)
      shape[static_cast<std::size_t>(i)] = t.ne[static_cast<std::size_t>(t.rank - 1 - i)];
    const auto from = data_at_ + static_cast<std::size_t>(t.offset);
    return detail::weight_over(bytes_.subspan(from, t.bytes), shape, t.rank, type, owner_);
  }

 private:
  static constexpr std::size_t longest_name = 65535;

  gguf_file() = default;

  mneme::error trouble(std::size_t at, const std::string& what) const {
    return message(name_, ": ", what, " at byte ", at);
  }
  mneme::error trouble(const gguf_tensor& t, const std::string& what) const {
    return message(name_, ": tensor ", detail::shown(t.name), " at byte ", t.at, " ", what);
  }

  status read_head(detail::byte_cursor& in, std::uint64_t& tensors, std::uint64_t& keys) {
    std::string_view magic;
    if (!in.take(magic, 4) || magic != "GGUF")
      return message(name_, ": not a GGUF file (no magic at byte 0)");
    if (!in.take(version_) || (version_ != 2 && version_ != 3))
      return trouble(4, "GGUF version " + detail::text(version_) + ", expected 2 or 3, little-endian,");
    if (!in.take(tensors) || !in.take(keys)) return trouble(in.at(), "the file ends inside the header");
    constexpr std::size_t least_tensor = 8 + 4 + 4 + 8, least_key = 8 + 4 + 1;
    if (tensors > in.left() / least_tensor)
      return trouble(8, detail::text(tensors) + " tensors do not fit the file");
    if (keys > in.left() / least_key) return trouble(16, detail::text(keys) + " keys do not fit the file");
    return {};
  }

  status read_key(detail::byte_cursor& in) {
    const std::size_t at = in.at();
    std::string_view key;
    if (!detail::take_gguf_string(in, key)) return trouble(at, "the file ends inside a key");
    if (key.empty() || key.size() > longest_name)
      return trouble(at, "key of " + detail::text(key.size()) + " bytes");
    gguf_value v{};
    if (const char* problem = detail::take_gguf_value(in, v))
      return message(name_, ": key ", detail::shown(key), " at byte ", at, ": ", problem);
    if (!metadata_.emplace(key, v).second) return trouble(at, "duplicate key " + detail::shown(key));
    return {};
  }

  status read_alignment() {
    constexpr const char* key = "general.alignment";
    if (!has(key)) return {};
    const auto n = get<std::uint32_t>(key);
    if (!n) return n.error();
    if (!std::has_single_bit(*n)) return message(name_, ": ", key, " is ", *n, ", expected a power of two");
    alignment_ = *n;
    return {};
  }

  status read_tensor(detail::byte_cursor& in) {
    gguf_tensor t{};
    t.at = in.at();
    t.ne.fill(1);
    std::string_view name;
    if (!detail::take_gguf_string(in, name))
      return trouble(t.at, "the file ends inside the name of a tensor");
    if (name.empty() || name.size() > longest_name)
      return trouble(t.at, "tensor name of " + detail::text(name.size()) + " bytes");
    t.name = name;
    std::uint32_t rank = 0;
    if (!in.take(rank) || rank > t.ne.size()) return trouble(t, "has " + detail::text(rank) + " dimensions");
    t.rank = static_cast<int>(rank);
    index_t count = 1;
    for (std::uint32_t i = 0; i < rank; ++i) {
      std::uint64_t n = 0;
      if (!in.take(n)) return trouble(t, "is cut off");
      if (n == 0 || !detail::multiply(count, n)) return trouble(t, "has a dimension of " + detail::text(n));
      t.ne[i] = static_cast<index_t>(n);
    }
    if (!in.take(t.type) || !in.take(t.offset)) return trouble(t, "is cut off");
    if (dtype type{}; detail::weight_type_of_ggml(t.type, type)) {
      const dtype_info block = info(type);
      if (t.ne[0] % block.block != 0)
        return trouble(t, "has rows of " + detail::text(t.ne[0]) + " that do not fill blocks of " +
                              detail::text(block.block) + " (" + block.name + ")");
      index_t size = count / block.block;
      if (!detail::multiply(size, static_cast<std::uint64_t>(block.block_bytes)))
        return trouble(t, "is too large");
      t.bytes = static_cast<std::size_t>(size);
    }
    if (!index_.emplace(t.name, tensors_.size()).second) return trouble(t, "is there twice");
    tensors_.push_back(std::move(t));
    return {};
  }

  // Finds the data section and checks that the tensors lie in it, aligned and apart.
  status place_tensors(std::size_t table_end) {
    const std::size_t gap = (alignment_ - table_end % alignment_) % alignment_;
    data_at_ = table_end + gap;
    if (tensors_.empty()) return {};
    if (gap > bytes_.size() - table_end) return trouble(table_end, "the file ends before the data section");
    const std::size_t room = bytes_.size() - data_at_;
    std::vector<const gguf_tensor*> order;
    for (const gguf_tensor& t : tensors_) {
      if (t.offset % alignment_ != 0)
        return trouble(t, "has offset " + detail::text(t.offset) + ", expected a multiple of " +
                              detail::text(alignment_));
      if (t.offset > room || extent(t) > room - t.offset)
        return trouble(t, "lies outside of the file: " + detail::text(t.bytes) + " bytes at offset " +
                              detail::text(t.offset) + " of " + detail::text(room));
      order.push_back(&t);
    }
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < order.size(); ++i)
      if (order[i]->offset - order[i - 1]->offset < extent(*order[i - 1]))
        return trouble(*order[i], "overlaps tensor " + detail::shown(order[i - 1]->name));
    return {};
  }
  // The size of a tensor of an unsupported type is not known; it has at least one byte.
  static std::size_t extent(const gguf_tensor& t) { return t.bytes > 0 ? t.bytes : 1; }

  std::string name_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  std::uint32_t version_ = 0;
  std::size_t alignment_ = 32, data_at_ = 0;
  std::map<std::string, gguf_value, text_order> metadata_;
  std::vector<gguf_tensor> tensors_;
  std::map<std::string, std::size_t, text_order> index_;
};

}  // namespace mneme::inline MNEME_ABI
