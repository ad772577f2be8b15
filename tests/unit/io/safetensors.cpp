// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "safetensors_files.hpp"

using io_test::bytes;
using io_test::container;
using io_test::entry;
using io_test::parse_safetensors;
using mneme::dtype;
using mneme::index_t;
using mneme::safetensors_file;
using mneme::weight;

namespace {

struct params {
  weight w, conv, bias;
  friend bool operator==(const params&, const params&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("in_proj.weight", s.w...);
    f("conv1d.weight", s.conv...);
    f("bias", s.bias...);
  }
};
struct two_blocks {
  using composed_fields = void;
  mneme::many<params> layers{{params(), params()}};
  friend bool operator==(const two_blocks&, const two_blocks&) = default;
  static constexpr void fields(auto&& f, auto&... s) { f("layers", s.layers...); }
};

struct one_weight {
  weight w;
  static constexpr void fields(auto&& f, auto&... s) { f("t", s.w...); }
};

weight counted(std::array<index_t, 3> shape, int rank, dtype type, unsigned first) {
  bytes content(4096);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i * 3 + first);
  return weight::copy_of(content.data(), shape, rank, type);
}
params sample(unsigned first = 1) {
  return {counted({3, 2, 1}, 2, dtype::f32, first), counted({4, 1, 3}, 3, dtype::bf16, first + 1),
          counted({5, 1, 1}, 1, dtype::f64, first + 2)};
}
params shaped() {
  return {weight::zeros<float>(3, 2), weight::zeros<float>(4, 1, 3), weight::zeros<float>(5)};
}

// The error of loading `saved` into a copy of `into`, which must stay as it was.
template <class P>
std::string load_refusal(const std::vector<mneme::tensor_entry>& entries, const P& into,
                         const std::string& prefix = "") {
  const auto content = mneme::write_safetensors(entries);
  REQUIRE(content);
  const auto file = parse_safetensors(*content);
  REQUIRE(file);
  P target = into;
  const mneme::status s = mneme::load_weights(*file, target, prefix);
  if (s) return "";
  CHECK(target == into);
  return s.error().message();
}

}  // namespace

TEST_CASE("weights come back", "[io][safetensors]") {
  const io_test::folder here;
  const params saved = sample();
  for (const std::string prefix : {"", "model.layers.3"}) {
    REQUIRE(mneme::save_weights(here / "w", saved, {{"by", "test"}}, prefix));
    params empty, sized = shaped();
    {
      const auto f = safetensors_file::open(here / "w");
      REQUIRE(f);
      CHECK(f->contains(prefix.empty() ? "bias" : "model.layers.3.bias"));
      CHECK(mneme::load_weights(*f, empty, prefix));
      CHECK(mneme::load_weights(*f, sized, prefix));
      CHECK(empty.w.data() == sized.w.data());  // both in the mapping
    }
    CHECK(empty == saved);
    CHECK(sized == saved);
    CHECK(mneme::weights_fingerprint(sized) == mneme::weights_fingerprint(saved));
  }
}

TEST_CASE("weights of nested parameters come back", "[io][safetensors]") {
  const io_test::folder here;
  two_blocks saved;
  saved.layers.items = {sample(1), sample(9)};
  REQUIRE(mneme::save_weights(here / "w", saved));
  const auto f = safetensors_file::open(here / "w");
  REQUIRE(f);
  two_blocks loaded;
  CHECK(mneme::load_weights(*f, loaded));
  CHECK(loaded == saved);
  params second;
  CHECK(mneme::load_weights(*f, second, "layers.1"));
  CHECK(second == saved.layers.items[1]);
}

TEST_CASE("weights outside of the prefix are somebody else's", "[io][safetensors]") {
  const bytes eight(8);
  const params saved = sample();
  std::vector<mneme::tensor_entry> entries;
  for (const char* at : {"l.1.", "l.10."}) {
    entries.push_back({at + std::string("in_proj.weight"), "F32", {3, 2}, mneme::detail::bytes_of(saved.w)});
    entries.push_back(
        {at + std::string("conv1d.weight"), "BF16", {4, 1, 3}, mneme::detail::bytes_of(saved.conv)});
    entries.push_back({at + std::string("bias"), "F64", {5}, mneme::detail::bytes_of(saved.bias)});
  }
  CHECK(load_refusal(entries, params(), "l.1").empty());
  CHECK(load_refusal(entries, params(), "l.10").empty());
  CHECK(io_test::contains(load_refusal(entries, params(), "l"), "no tensor \"l.in_proj.weight\""));
}

TEST_CASE("weights that do not fit are refused and change nothing", "[io][safetensors]") {
  const params saved = sample();
  const bytes many(64);
  const auto entries = [&] {
    return std::vector<mneme::tensor_entry>{
        {"in_proj.weight", "F32", {3, 2}, mneme::detail::bytes_of(saved.w)},
        {"conv1d.weight", "BF16", {4, 1, 3}, mneme::detail::bytes_of(saved.conv)},
        {"bias", "F64", {5}, mneme::detail::bytes_of(saved.bias)}};
  };
  CHECK(load_refusal(entries(), shaped()).empty());
  auto missing = entries();
  missing.pop_back();
  CHECK(load_refusal(missing, shaped()) == "f: no tensor \"bias\"");
  CHECK(load_refusal(missing, params()) == "f: no tensor \"bias\"");
  auto more = entries();
  more.push_back(entry("bias2", "F32", {16}, many));
  CHECK(load_refusal(more, shaped()) ==
        "f: unknown tensor \"bias2\", no field of the parameters has this name");
  auto transposed = entries();
  transposed[0].shape = {2, 3};
  CHECK(load_refusal(transposed, shaped()) ==
        "f: tensor \"in_proj.weight\" is F32 [2, 3], expected shape [3, 2]");
  CHECK(load_refusal(transposed, params()).empty());
  auto squeezed = entries();
  squeezed[1].shape = {4, 3};
  CHECK(load_refusal(squeezed, shaped()) ==
        "f: tensor \"conv1d.weight\" is BF16 [4, 3], expected shape [4, 1, 3]");
  auto integers = entries();
  integers[2].type = "I64";
  CHECK(load_refusal(integers, params()) ==
        "f: tensor \"bias\" is I64 [5], expected floating-point elements");
  auto flat = entries();
  flat[2] = entry("bias", "F32", {2, 2, 2, 2}, many);
  CHECK(load_refusal(flat, params()) == "f: tensor \"bias\" is F32 [2, 2, 2, 2], expected 1 to 3 dimensions");
}

TEST_CASE("a weight without shape among shaped ones is absent by configuration", "[io][safetensors]") {
  const io_test::folder here;
  params saved = sample();
  saved.bias = weight();
  REQUIRE(mneme::save_weights(here / "w", saved));
  const auto f = safetensors_file::open(here / "w");
  REQUIRE(f);
  CHECK_FALSE(f->contains("bias"));
  params unbiased = shaped(), biased = shaped(), unknown;
  unbiased.bias = weight();
  CHECK(mneme::load_weights(*f, unbiased));
  CHECK(unbiased == saved);
  CHECK_FALSE(mneme::load_weights(*f, biased));
  CHECK_FALSE(mneme::load_weights(*f, unknown));
  REQUIRE(mneme::save_weights(here / "b", sample()));
  CHECK_FALSE(mneme::load_weights(*safetensors_file::open(here / "b"), unbiased));  // the bias would be lost
}

TEST_CASE("weights of block formats have no place in safetensors", "[io][safetensors]") {
  const io_test::folder here;
  params p = sample();
  p.w = counted({2, 32, 1}, 2, dtype::q8_0, 1);
  CHECK(mneme::save_weights(here / "w", p).error().message() ==
        (here / "w") + ": tensor \"in_proj.weight\": no dtype \"Q8_0\" in safetensors");
}

TEST_CASE("a fingerprint tells weights apart", "[io][safetensors]") {
  const params p = sample();
  const std::string print = mneme::weights_fingerprint(p);
  CHECK(print.size() == 16);
  CHECK(print == mneme::weights_fingerprint(sample()));
  CHECK(print != mneme::weights_fingerprint(sample(2)));
  params q = p;
  q.w = counted({2, 3, 1}, 2, dtype::f32, 1);  // same bytes, another shape
  CHECK(print != mneme::weights_fingerprint(q));
  q = p;
  std::swap(q.w, q.bias);
  CHECK(print != mneme::weights_fingerprint(q));
  CHECK(mneme::weights_fingerprint(mneme::nothing()) == mneme::hex(0));
}

TEST_CASE("misaligned tensors are loaded as copies", "[io][safetensors]") {
  for (std::size_t pad = 0; pad < 8; ++pad) {
    const auto f = parse_safetensors(
        container(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(pad, ' '), 8));
    REQUIRE(f);
    one_weight p;
    REQUIRE(mneme::load_weights(*f, p));
    CHECK(reinterpret_cast<std::uintptr_t>(p.w.data()) % 4 == 0);
    CHECK(std::memcmp(p.w.data(), "\0\1\2\3\4\5\6\7", 8) == 0);
  }
}

TEST_CASE("damaged safetensors do no harm", "[io][safetensors]") {
  const bytes a(8), b(3), c(4);
  const std::vector<mneme::tensor_entry> entries = {entry("in_proj.weight", "F32", {2}, a),
                                                    entry("conv1d.weight", "BF16", {2, 1, 1}, c),
                                                    entry("bias", "F16", {2}, c), entry("x\n", "U8", {3}, b)};
  const auto good = mneme::write_safetensors(entries, {{"k", "v"}});
  REQUIRE(good);
  std::size_t sum = 0, accepted = 0;
  const auto probe = [&](const bytes& bad) {
    const auto f = parse_safetensors(bad);
    if (!f) return;
    ++accepted;
    for (const auto& [name, t] : f->tensors())
      for (const std::byte x : t.bytes) sum += std::to_integer<std::size_t>(x);
    params p;
    sum += mneme::load_weights(*f, p).ok();
  };
  io_test::for_every_damage(*good, probe);
  io_test::for_every_hostile_number(*good, probe);
  CHECK(accepted > 0);
  CHECK(sum > 0);
}
