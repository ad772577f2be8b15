// SPDX-License-Identifier: Apache-2.0
// Weights in safetensors files: loading, saving and fingerprinting of everything that fields visit.
#pragma once
#include "../core/fields.hpp"
#include "hash.hpp"
#include "safetensors_reader.hpp"
#include "safetensors_writer.hpp"

#include <set>

namespace mneme::inline MNEME_ABI {

namespace detail {

// f(name, weight) for every weight of an aggregate; names are field paths behind the prefix.
template <class P, class F>
void visit_weights(P& params, std::string_view prefix, F&& f) {
  visit_fields(
      [&](const field_path& at, auto& leaf) {
        static_assert(std::is_same_v<std::remove_cvref_t<decltype(leaf)>, weight>,
                      "params hold weights only");
        f(at.text(), leaf);
      },
      field_path(field_path(), prefix), params);
}

inline std::vector<index_t> shape_of(const weight& w) {
  std::vector<index_t> shape;
  for (int i = 0; i < w.rank(); ++i) shape.push_back(w.dim(i));
  return shape;
}
inline std::span<const std::byte> bytes_of(const weight& w) {
  return {static_cast<const std::byte*>(w.data()), w.data() == nullptr ? 0 : w.bytes()};
}

// The tensor `name` as a weight; `present` fixes the shape if it has one.
inline expected<weight> weight_from(const safetensors_file& file, const std::string& name,
                                    const weight& present) {
  auto found = file.tensor(name);
  if (!found) return found.error();
  const tensor_view& t = *found;
  const auto trouble = [&](const std::string& wanted) {
    return message(file.name(), ": tensor ", shown(name), " is ", std::string(t.type), " ",
                   shape_text(t.shape), ", expected ", wanted);
  };
  const auto type = weight_type(t.type);
  if (!type) return trouble("floating-point elements");
  if (present.rank() > 0 && t.shape != shape_of(present))
    return trouble("shape " + shape_text(present.shape()));
  if (t.shape.empty() || t.shape.size() > 3) return trouble("1 to 3 dimensions");
  std::array<index_t, 3> shape{1, 1, 1};
  std::copy(t.shape.begin(), t.shape.end(), shape.begin());
  return weight_over(t.bytes, shape, static_cast<int>(t.shape.size()), *type, file.owner());
}

}  // namespace detail

// Fills every weight of `params` with the tensor of its name: prefix, a dot, and the field path ("layers.3"
// and "in_proj.weight"). A weight that has a shape fixes the shape, dimension by dimension; the storage type
// is the file's. Where some weights have a shape, those without one are absent by configuration (a layer
// without bias) and must not be in the file; where none has, all are filled. Weights share the mapping of the
// file.
// Errors name the tensor: missing, of another shape, not floating point, or unknown (it begins with the
// prefix, but no field asks for it). `params` is then unchanged.
template <class P>
status load_weights(const safetensors_file& file, P&& params, std::string_view prefix = "") {
  bool shaped = false;
  detail::visit_weights(params, prefix,
                        [&](const std::string&, const weight& w) { shaped = shaped || w.rank() > 0; });

  std::vector<weight> loaded;
  std::set<std::string, text_order> names;
  std::optional<mneme::error> problem;
  detail::visit_weights(params, prefix, [&](const std::string& name, const weight& w) {
    if (problem) return;
    if (shaped && w.rank() == 0) return loaded.push_back(w);
    auto filled = detail::weight_from(file, name, w);
    if (!filled) return void(problem = filled.error());
    loaded.push_back(std::move(*filled));
    names.insert(name);
  });
  if (problem) return *problem;

  const std::string stem = prefix.empty() ? "" : std::string(prefix) + ".";
  for (const auto& [name, tensor] : file.tensors())
    if (name.starts_with(stem) && !names.contains(name))
      return message(file.name(), ": unknown tensor ", detail::shown(name),
                     ", no field of the parameters has this name");

  std::size_t next = 0;
  detail::visit_weights(params, prefix,
                        [&](const std::string&, weight& w) { w = std::move(loaded[next++]); });
  return {};
}

// Writes every weight that has a shape under the name that load_weights looks for.
// Errors: those of save_safetensors; block formats have no dtype in safetensors.
template <class P>
status save_weights(const std::string& path, const P& params, const metadata_map& metadata = {},
                    std::string_view prefix = "") {
  std::vector<tensor_entry> entries;
  detail::visit_weights(params, prefix, [&](const std::string& name, const weight& w) {
    if (w.rank() > 0)
      entries.push_back({name, info(w.type()).name, detail::shape_of(w), detail::bytes_of(w)});
  });
  return save_safetensors(path, entries, metadata);
}

// 16 hexadecimal digits over names, types, shapes and bytes of all weights: tells checkpoints apart.
template <class P>
std::string weights_fingerprint(const P& params) {
  std::uint64_t h = 0;
  detail::visit_weights(params, "", [&](const std::string& name, const weight& w) {
    const std::string head = name + '\0' + info(w.type()).name + shape_text(w.shape());
    h = hash64(detail::bytes_of(w), hash64(std::as_bytes(std::span(head)), h));
  });
  return hex(h);
}

}  // namespace mneme::inline MNEME_ABI
