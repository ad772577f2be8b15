// SPDX-License-Identifier: Apache-2.0
// Golden values: tensors "<case>/<tensor>" of tests/golden/<op>.safetensors, widened to double (see the
// README there).
#pragma once
#include <mneme/io/safetensors_reader.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mneme_test {

using mneme::index_t;

// Every function fails (mneme::error) on a tensor that the file does not hold; has and flag ask.
class golden {
 public:
  // MNEME_GOLDEN_DIR: the folder of the files, a string literal from the build.
  explicit golden(std::string_view op)
      : file_(
            mneme::safetensors_file::open(MNEME_GOLDEN_DIR "/" + std::string(op) + ".safetensors").value()) {}

  // In the order of the script that made them.
  std::vector<std::string> cases() const {
    std::vector<std::string> names;
    const std::string all = metadata("cases");
    for (std::size_t from = 0; from < all.size();) {
      const std::size_t comma = std::min(all.find(',', from), all.size());
      names.push_back(all.substr(from, comma - from));
      from = comma + 1;
    }
    return names;
  }
  bool has(std::string_view in_case, std::string_view name) const {
    return file_.contains(path(in_case, name));
  }
  std::vector<index_t> shape(std::string_view in_case, std::string_view name) const {
    return tensor(in_case, name).shape;
  }
  // All elements, row major. F16 and BF16 are widened exactly; U8 gives the bytes.
  std::vector<double> values(std::string_view in_case, std::string_view name) const {
    const mneme::tensor_view t = tensor(in_case, name);
    if (t.type == "F64") return widened<double>(t);
    if (t.type == "F32") return widened<float>(t);
    if (t.type == "I64") return widened<std::int64_t>(t);
    if (t.type == "I32") return widened<std::int32_t>(t);
    if (t.type == "U8") return widened<std::uint8_t>(t);
    if (t.type == "F16") return widened<std::uint16_t>(t, mneme::from_f16);
    if (t.type == "BF16") return widened<std::uint16_t>(t, mneme::from_bf16);
    mneme::fail(mneme::message("golden values are not stored as ", std::string(t.type)));
  }
  // The only element of a tensor of shape [1].
  double value(std::string_view in_case, std::string_view name) const { return values(in_case, name).at(0); }
  // A flag of one case, or "".
  std::string flag(std::string_view in_case, std::string_view name) const {
    return metadata(path(in_case, name));
  }

 private:
  struct unchanged {
    template <class S>
    S operator()(S x) const {
      return x;
    }
  };
  template <class S, class F = unchanged>
  static std::vector<double> widened(const mneme::tensor_view& t, F&& widen = {}) {
    std::vector<double> out;
    for (std::size_t at = 0; at < t.bytes.size(); at += sizeof(S))
      out.push_back(static_cast<double>(widen(mneme::load_unaligned_word<S>(t.bytes.data() + at))));
    return out;
  }
  static std::string path(std::string_view in_case, std::string_view name) {
    return std::string(in_case).append("/").append(name);
  }
  mneme::tensor_view tensor(std::string_view in_case, std::string_view name) const {
    return file_.tensor(path(in_case, name)).value();
  }
  std::string metadata(std::string_view key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? std::string() : found->second;
  }

  mneme::safetensors_file file_;
};

}  // namespace mneme_test
