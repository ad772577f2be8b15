// SPDX-License-Identifier: Apache-2.0
// safetensors_file: what it accepts can be read, written and read again; loading weights changes all or
// nothing.
#include "fuzz.hpp"

#include <mneme/io/safetensors.hpp>

namespace {

struct layer {
  mneme::weight w, b;
  static constexpr void fields(auto&& f, auto&... p) {
    f("w", p.w...);
    f("b", p.b...);
  }
};

void load(const mneme::safetensors_file& file, layer params) {
  const layer before = params;
  if (mneme::load_weights(file, params)) {
    fuzz::touch(params.w);
    if (params.b.rank() > 0) fuzz::touch(params.b);
  } else {
    fuzz::require(params.w.data() == before.w.data() && params.b.data() == before.b.data(),
                  "a refusal changes nothing");
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = mneme::safetensors_file::parse(fuzz::bytes(data, size), fuzz::owner(data), "f");
  if (!file) {
    fuzz::require(file.error().message().starts_with("f: "), "a refusal names the file");
    return 0;
  }
  std::vector<mneme::tensor_entry> entries;
  for (const auto& [name, t] : file->tensors()) {
    fuzz::touch(t.bytes);
    entries.push_back({name, t.type, t.shape, t.bytes});
  }
  const auto written = mneme::write_safetensors(entries, file->metadata());
  fuzz::require(written.has_value(), "what was read can be written");
  const auto again = mneme::safetensors_file::parse(*written, nullptr, "again");
  fuzz::require(again && again->metadata() == file->metadata() && again->tensors().size() == entries.size(),
                "what was written can be read");
  for (const mneme::tensor_entry& e : entries) {
    const auto t = again->tensor(e.name);
    fuzz::require(t && t->type == e.type && t->shape == e.shape && std::ranges::equal(t->bytes, e.bytes),
                  "a tensor comes back");
  }
  load(*file, {});
  constexpr float zeros[6] = {};
  load(*file, {mneme::weight::copy_of(zeros, {3, 2, 1}, 2, mneme::dtype::f32), {}});
  return 0;
}
