// SPDX-License-Identifier: Apache-2.0
// attention and rope together, against tests/golden/attention.safetensors.
#include <mneme/backend/cpu/attention.hpp>
#include <mneme/math/rope.hpp>

#include "attention_case.hpp"
#include "catch.hpp"
#include "golden.hpp"

using namespace attention_test;

namespace {

// [rows, heads, d] of T.
template <class T>
struct cube {
  std::vector<T> x;
  index_t rows, heads, d;
  cube(const golden& file, const std::string& in_case, const char* name)
      : rows(file.shape(in_case, name)[0]),
        heads(file.shape(in_case, name)[1]),
        d(file.shape(in_case, name)[2]) {
    for (double v : file.values(in_case, name)) x.push_back(static_cast<T>(v));
  }
  T* at(index_t r, index_t h) { return x.data() + (r * heads + h) * d; }
  const std::byte* bytes(index_t h) { return reinterpret_cast<const std::byte*>(at(0, h)); }
};

template <class T>
void turn(cube<T>& x, const rope& r, const std::vector<double>& positions) {
  std::vector<T> angles(static_cast<std::size_t>(2 * r.pairs()));
  for (index_t t = 0; t < x.rows; ++t) {
    r.angles<T>(static_cast<index_t>(positions[static_cast<std::size_t>(t)]), angles);
    for (index_t h = 0; h < x.heads; ++h) r.rotate<T>(row_view<const T>(angles), x.at(t, h));
  }
}

// The largest error, relative to the largest output.
template <class T>
double worst(run_of<T, kv_rows<dtype_of<T>>> run, const golden& file, const std::string& name) {
  cube<T> q(file, name, "q"), k(file, name, "k"), v(file, name, "v"), o = q;
  if (const std::string pairs = file.flag(name, "rope"); pairs != "none") {
    const rope r(std::stoi(file.flag(name, "rotary_width")), std::stod(file.flag(name, "base")),
                 pairs == "half" ? rope_pairs::half_split : rope_pairs::interleaved);
    const auto positions = file.values(name, "positions");
    turn(q, r, positions);
    turn(k, r, positions);
  }
  constexpr dtype D = dtype_of<T>;
  const index_t bytes = row_bytes(D, k.heads * k.d), group = q.heads / k.heads;
  const index_t offset = std::stoi(file.flag(name, "q_offset"));
  const double scale = 1 / std::sqrt(static_cast<double>(q.d));
  context ctx;
  for (index_t r = 0; r < q.rows; ++r)
    for (index_t list = 0; list < k.heads; ++list) {
      const kv_rows<D> kv{k.bytes(list), v.bytes(list), bytes, bytes, k.d, v.d, offset + r + 1};
      const mat_view<const T> Q(q.at(r, list * group), group, q.d);
      const mat_view<T> O(o.at(r, list * group), group, q.d);
      run(ctx, kv, scale, Q, O, {}, {});
    }
  double error = 0, largest = 0;
  const auto expected = file.values(name, "o");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(o.x[i]) - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return error / largest;
}

}  // namespace

TEST_CASE("attention gives the golden values") {
  const golden file("attention");
  REQUIRE(file.cases().size() == 13);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    CHECK(worst<double>(&kernel<attention, native>::run, file, name) < 1e-12);
    CHECK(worst<double>(&kernel<attention, reference>::run, file, name) < 1e-12);
    // Sharp scores reach 100, and their float32 rounding becomes an error of e^score.
    CHECK(worst<float>(&kernel<attention, native>::run, file, name) < (name == "sharp" ? 1e-5 : 2e-6));
  }
}
