// SPDX-License-Identifier: Apache-2.0
// safetensors files for the tests: right ones and wrong ones.
#pragma once
#include "files.hpp"

#include <mneme/io/safetensors.hpp>

namespace io_test {

inline bytes container(std::string_view header, std::size_t data) {
  bytes b;
  append(b, std::uint64_t{header.size()});
  const bytes h = bytes_of(header);
  b.insert(b.end(), h.begin(), h.end());
  for (std::size_t i = 0; i < data; ++i) b.push_back(static_cast<std::byte>(i));
  return b;
}
inline mneme::expected<mneme::safetensors_file> parse_safetensors(const bytes& content) {
  const auto block = exact(content);
  return mneme::safetensors_file::parse(*block, block, "f");
}
inline mneme::tensor_entry entry(std::string name, std::string_view type, std::vector<mneme::index_t> shape,
                                 const bytes& content) {
  return {std::move(name), type, std::move(shape), content};
}

}  // namespace io_test
