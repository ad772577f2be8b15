// SPDX-License-Identifier: Apache-2.0
// gguf_file: whatever it accepts can be asked for everything.
#include "fuzz.hpp"

#include <mneme/io/gguf.hpp>

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = mneme::gguf_file::parse(fuzz::bytes(data, size), fuzz::owner(data), "f");
  if (!file) {
    fuzz::require(file.error().message().starts_with("f: "), "a refusal names the file");
    return 0;
  }
  for (const auto& [key, value] : file->metadata()) {
    const bool whole = file->get<std::int64_t>(key).has_value() || file->get<std::uint64_t>(key).has_value();
    const bool single = whole + file->get<double>(key).has_value() + file->get<bool>(key).has_value() +
                            file->get<std::string>(key).has_value() ==
                        1;
    fuzz::require(single == (value.type != mneme::gguf_type::array), "a scalar is read as one type");
    const bool list = file->get<std::vector<std::uint64_t>>(key).has_value() ||
                      file->get<std::vector<std::int64_t>>(key).has_value() ||
                      file->get<std::vector<double>>(key).has_value() ||
                      file->get<std::vector<std::string>>(key).has_value();
    fuzz::require(!(list && single), "a scalar is no list");
  }
  for (const mneme::gguf_tensor& t : file->tensors()) {
    fuzz::require(file->contains(t.name), "a tensor is found by its name");
    if (const auto w = file->tensor(t.name)) {
      fuzz::require(w->bytes() == t.bytes, "a weight has the bytes of its tensor");
      fuzz::touch(*w);
    }
  }
  return 0;
}
