// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/gru.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

template <class T>
struct problem {
  weight W;           // [3 H, H]
  matrix<T> b, P, h;  // [1, 3 H], [T, 3 H], [1, H]

  static problem random(index_t rows, index_t H, dtype type = dtype::f32, placement at = {}) {
    const auto draw = [&](index_t r, index_t n, std::uint64_t seed) {
      return matrix<T>(random_rows<T>(r, n, 0, seed).view(), at);
    };
    return {stored_as(uniform_weight({3 * H, H}, H, random_stream(1, 9)), type), draw(1, 3 * H, 5),
            draw(rows, 3 * H, 2), draw(1, H, 3)};
  }
  problem<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {W, wide(b), wide(P), wide(h)};
  }
  // Rows [from, to) on h in place; the last outs outputs.
  template <class Backend>
  matrix<T> run(index_t from, index_t to, index_t outs, placement at = {}) {
    context ctx;
    matrix<T> Y(outs, h.cols(), at);
    kernel<gru_recurrence, Backend>::template run<T>(ctx, W, b.view()[0], P.view().range(from, to),
                                                     h.view()[0], Y.view());
    CHECK(Y.surrounding_untouched());
    CHECK(h.surrounding_untouched());
    return Y;
  }
};

template <class Arch, class T>
void agrees_with_reference(index_t rows, index_t H, dtype type, placement at) {
  CAPTURE(rows, H, info(type).name, sizeof(T));
  auto p = problem<T>::random(rows, H, type, at);
  auto oracle = p.widened();
  const auto y = p.template run<cpu<Arch>>(0, rows, rows, at);
  const auto expected = oracle.template run<reference>(0, rows, rows);
  const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<T>, .rows = rows, .width = H};
  CHECK(mneme_test::difference<T, double>(y, expected, allowed) == "");
  CHECK(mneme_test::difference<T, double>(p.h, oracle.h, allowed) == "");
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("gru agrees with its reference", "", test_archs) {
  constexpr placement ugly{.gap = 3, .shift = 1};
  for (const index_t H : {1, 5, 16, 17, 48, 67}) {
    agrees_with_reference<TestType, float>(9, H, dtype::f32, ugly);
    agrees_with_reference<TestType, double>(9, H, dtype::f64, {});
  }
  for (const dtype type : {dtype::bf16, dtype::q8_0, dtype::q4_1})
    agrees_with_reference<TestType, float>(7, 64, type, {});
}

TEST_CASE("gru is bit-equal however rows are split into calls") {
  const auto start = problem<float>::random(8, 21);
  auto whole = start;
  const auto y = whole.run<native>(0, 8, 8);
  for (index_t cut = 0; cut <= 8; ++cut) {
    auto split = start;
    split.run<native>(0, cut, 0);
    CHECK(mneme_test::bit_difference<float>(split.run<native>(cut, 8, 8 - cut), y.view().range(cut, 8)) ==
          "");
    CHECK(split.h == whole.h);
    auto some = start;
    CHECK(mneme_test::bit_difference<float>(some.run<native>(0, 8, cut), y.view().last(cut)) == "");
  }
}

TEMPLATE_LIST_TEST_CASE("gru: an update gate of one keeps the state to the bit", "", test_archs) {
  constexpr index_t H = 19;
  auto p = problem<float>::random(30, H);
  for (index_t t = 0; t < 30; ++t) std::fill_n(p.P.view()[t].begin() + H, H, 200.0f);
  const matrix<float> before = p.h;
  p.template run<cpu<TestType>>(0, 30, 30);
  CHECK(p.h == before);
}
