// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/encode.hpp>
#include <mneme/math/interleave.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

#include <cmath>
#include <vector>

using namespace mneme;

namespace {

weight stored_rows(index_t N, index_t K, dtype type) {
  const auto values = mneme_test::random_rows<double>(N, K, 0, 3);
  std::vector<std::byte> rows(static_cast<std::size_t>(N * row_bytes(type, K)));
  for (index_t n = 0; n < N; ++n)
    encode_row(type, values.view()[n].data(), K, rows.data() + n * row_bytes(type, K));
  return weight::copy_of(rows.data(), {N, K, 1}, 2, type);
}

// All values of the whole blocks, row by row, read through packs of one row.
template <dtype D>
std::vector<float> values_of(const weight& w) {
  using group = interleaved_group<D>;
  const index_t rows = w.rows() / interleaved_rows * interleaved_rows, K = w.cols();
  std::vector<float> x(static_cast<std::size_t>(rows * K));
  for (index_t r = 0; r < rows; ++r) {
    float* const out = x.data() + r * K;
    const auto* p = w.interleaved() + r / interleaved_rows * interleaved_rows * row_bytes(D, K);
    const index_t row = r % interleaved_rows;
    index_t k = 0;
    for (; k + decode_group <= K; k += decode_group, p += row_bytes(D, decode_group) * interleaved_rows)
      for (index_t pair = 0; pair < decode_group / 2; ++pair) {
        float a, b;
        group::columns(p, pair, row, a, b);
        if constexpr (group::scaled) {
          const float d = group::template scale<float>(p, row);
          float m = 0;
          if constexpr (group::has_minimum) m = group::template minimum<float>(p, row);
          a = d * a + m, b = d * b + m;
        }
        out[k + group::first(pair)] = a;
        out[k + group::second(pair)] = b;
      }
    if constexpr (!group::scaled)
      for (index_t j = 0; k + j < K; ++j) out[k + j] = group::template column<float>(p, j, row);
  }
  return x;
}

}  // namespace

TEST_CASE("interleaved weights hold the values of their rows") {
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1})
    for (const index_t N : {64, 130})
      for (const index_t K : {32, 96, 37, 5}) {
        if (K % info(type).block != 0) continue;
        CAPTURE(info(type).name, N, K);
        const weight w = interleaved(stored_rows(N, K, type));
        REQUIRE(w.interleaved() != nullptr);
        with_dtype(type, [&](auto d) {
          if constexpr (interleaves(d())) {
            const auto x = values_of<d()>(w);
            const weight table = decoded<float>(w);
            for (std::size_t i = 0; i < x.size(); ++i)
              REQUIRE(std::abs(x[i] - data<float>(table)[i]) <= 1e-6f * std::abs(x[i]));
          }
        });
      }
}

TEST_CASE("a weight without a whole block of rows, or of double, stays as it is") {
  CHECK(interleaved(stored_rows(63, 32, dtype::q8_0)).interleaved() == nullptr);
  CHECK(interleaved(stored_rows(64, 32, dtype::f64)).interleaved() == nullptr);
  CHECK(interleaved(weight()).interleaved() == nullptr);
}

TEST_CASE("copies share the interleaved rows, and what is edited loses them") {
  const weight w = interleaved(stored_rows(64, 8, dtype::f32));
  weight copy = interleaved(w);
  CHECK(copy.interleaved() == w.interleaved());
  CHECK(copy == w);
  edit<float>(copy)[3] = 7;
  CHECK(copy.interleaved() == nullptr);
  CHECK(w.interleaved() != nullptr);
  CHECK(data<float>(w)[3] != 7);
}
