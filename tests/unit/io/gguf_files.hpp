// SPDX-License-Identifier: Apache-2.0
// GGUF files for the tests: right ones and wrong ones.
#pragma once
#include "files.hpp"

#include <mneme/io/gguf.hpp>

namespace io_test {

inline bytes& append_string(bytes& to, std::string_view s) {
  append(to, std::uint64_t{s.size()});
  for (const char c : s) to.push_back(static_cast<std::byte>(c));
  return to;
}

// Writes GGUF files, right and wrong ones.
struct gguf_writer {
  std::uint32_t version = 3;
  std::uint64_t keys = 0, tensors = 0, alignment = 32;
  bytes key_part, tensor_part, data;

  bytes& key(std::string_view name, std::uint32_t type) {
    ++keys;
    append_string(key_part, name);
    append(key_part, type);
    return key_part;
  }
  bytes& array(std::string_view name, std::uint32_t item, std::uint64_t count) {
    append(key(name, 9), item);
    append(key_part, count);
    return key_part;
  }
  // A row of the tensor table.
  void row(std::string_view name, std::uint32_t type, const std::vector<std::uint64_t>& ne,
           std::uint64_t offset) {
    ++tensors;
    append_string(tensor_part, name);
    append(tensor_part, static_cast<std::uint32_t>(ne.size()));
    for (const std::uint64_t n : ne) append(tensor_part, n);
    append(tensor_part, type);
    append(tensor_part, offset);
  }
  // A tensor with `size` bytes of data behind all others.
  void tensor(std::string_view name, std::uint32_t type, const std::vector<std::uint64_t>& ne,
              std::size_t size) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    row(name, type, ne, data.size());
    for (std::size_t i = 0; i < size; ++i) data.push_back(static_cast<std::byte>(i + tensors));
  }
  bytes file() const {
    bytes b = bytes_of("GGUF");
    append(b, version);
    append(b, tensors);
    append(b, keys);
    b.insert(b.end(), key_part.begin(), key_part.end());
    b.insert(b.end(), tensor_part.begin(), tensor_part.end());
    if (tensors > 0) b.resize((b.size() + alignment - 1) / alignment * alignment);
    b.insert(b.end(), data.begin(), data.end());
    return b;
  }
};

inline mneme::expected<mneme::gguf_file> parse_gguf(const bytes& content) {
  const auto block = exact(content);
  return mneme::gguf_file::parse(*block, block, "f");
}
// The error of a file, or "" if it is accepted.
inline std::string refusal(const gguf_writer& w) {
  const auto f = parse_gguf(w.file());
  return f ? "" : f.error().message();
}
inline gguf_writer sample_gguf() {
  gguf_writer w;
  append(w.key("u8", 0), std::uint8_t{200});
  append(w.key("i8", 1), std::int8_t{-100});
  append(w.key("u16", 2), std::uint16_t{60000});
  append(w.key("i16", 3), std::int16_t{-30000});
  append(w.key("u32", 4), std::uint32_t{4000000000u});
  append(w.key("i32", 5), std::int32_t{-2000000000});
  append(w.key("f32", 6), 0.1f);
  append(w.key("yes", 7), std::uint8_t{1});
  append_string(w.key("general.architecture", 8), "llama \xc3\xa9");
  append(w.key("u64", 10), ~std::uint64_t{0});
  append(w.key("i64", 11), std::numeric_limits<std::int64_t>::min());
  append(w.key("f64", 12), 0.1);
  append_string(append_string(w.array("strings", 8, 2), "a"), "");
  append(append(w.array("floats", 6, 2), 1.5f), -2.5f);
  append(append(w.array("flags", 7, 2), std::uint8_t{1}), std::uint8_t{0});
  w.array("none", 8, 0);
  append(append(append(w.array("nested", 9, 1), std::uint32_t{4}), std::uint64_t{1}), std::uint32_t{7});
  w.tensor("f32", 0, {3, 2}, 24);
  w.tensor("q8_0", 8, {64, 3}, 2 * 3 * 34);
  w.tensor("q4_1", 3, {32}, 20);
  w.tensor("cube", 1, {2, 3, 4}, 48);
  w.tensor("k", 12, {256}, 144);
  w.tensor("four", 0, {1, 1, 1, 2}, 8);
  w.tensor("bf16", 30, {5}, 10);
  return w;
}

}  // namespace io_test
