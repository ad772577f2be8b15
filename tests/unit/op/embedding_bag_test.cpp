// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/embedding_bag.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

constexpr mneme_test::placement ugly{.gap = 3, .shift = 1};

// See matmul_test: gcc contracts products and sums of narrower architectures in a unit with FMA.
using bit_stable_archs = std::tuple<simd::scalar, simd::native>;

template <class T>
struct problem {
  weight table;
  matrix<index_t> ids;
  matrix<T> w, X;  // the weights of a bag; the vectors of the dot products

  static problem random(index_t rows, index_t per_row, index_t width, dtype type = dtype::f32,
                        mneme_test::placement where = ugly) {
    constexpr index_t N = 23;
    problem p{stored_as(uniform_weight({N, width}, 1, random_stream(1, 2)), type),
              {rows, per_row, where},
              matrix<T>(random_rows<T>(rows, per_row, 0, 3).view(), ugly),
              matrix<T>(random_rows<T>(rows, width, 0, 4).view(), ugly)};
    random_stream draw(1, 5);
    for (index_t r = 0; r < rows; ++r)
      for (index_t& id : p.ids.view()[r])
        id = static_cast<index_t>(draw.bits() % (N + 1)) - 1;  // -1 .. N - 1
    return p;
  }
  problem<double> widened() const {
    return {table, ids, mneme_test::widened<T>(w.view()), mneme_test::widened<T>(X.view())};
  }
  template <class Backend>
  matrix<T> bag(Backend, index_t from, index_t to, executor* threads = nullptr) const {
    context ctx;
    ctx.threads = threads;
    matrix<T> Y(to - from, table.cols(), ugly);
    kernel<embedding_bag, Backend>::template run<T>(ctx, table, ids.view().range(from, to),
                                                    w.view().range(from, to), Y.view());
    CHECK(Y.surrounding_untouched());
    return Y;
  }
  template <class Backend>
  matrix<T> dot(Backend, index_t from, index_t to, executor* threads = nullptr) const {
    context ctx;
    ctx.threads = threads;
    matrix<T> Y(to - from, ids.cols(), ugly);
    kernel<embedding_dot, Backend>::template run<T>(ctx, table, ids.view().range(from, to),
                                                    X.view().range(from, to), Y.view());
    CHECK(Y.surrounding_untouched());
    return Y;
  }
};

template <class Arch, class T>
void agrees_with_reference(const problem<T>& p) {
  const index_t R = p.ids.rows();
  CAPTURE(R, p.ids.cols(), shape_text(p.table.shape()), info(p.table.type()).name, sizeof(T));
  const auto oracle = p.widened();
  const auto allowed = [](index_t terms) {
    return mneme_test::tolerance{.eps = mneme_test::epsilon<T>, .rows = 0, .width = terms};
  };
  CHECK(mneme_test::difference<T, double>(p.bag(cpu<Arch>{}, 0, R), oracle.bag(reference{}, 0, R),
                                          allowed(p.ids.cols() + 1)) == "");
  CHECK(mneme_test::difference<T, double>(p.dot(cpu<Arch>{}, 0, R), oracle.dot(reference{}, 0, R),
                                          allowed(p.table.cols())) == "");
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("embedding_bag and embedding_dot agree with their references", "", test_archs) {
  for (const index_t width : {1, 31, 32, 33, 67, 160, 300})
    agrees_with_reference<TestType>(problem<float>::random(3, 11, width));
  for (const index_t rows : {1, 50})
    agrees_with_reference<TestType>(problem<float>::random(rows, 20, 35, dtype::f32, {}));
  agrees_with_reference<TestType>(problem<double>::random(5, 9, 133));
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1})
    agrees_with_reference<TestType>(problem<float>::random(4, 10, 96, type));
}

TEMPLATE_LIST_TEST_CASE("embedding_bag: the bits of a row depend on nothing beside it", "",
                        bit_stable_archs) {
  const cpu<TestType> on;
  mneme_test::reverse_executor threads;
  for (const auto& where : {mneme_test::placement{}, ugly}) {
    const auto p = problem<float>::random(101, 7, 70, dtype::f32, where);
    const auto Y = p.bag(on, 0, 101), D = p.dot(on, 0, 101);
    CHECK(mneme_test::bit_difference<float>(p.bag(on, 0, 101, &threads), Y) == "");
    CHECK(mneme_test::bit_difference<float>(p.dot(on, 0, 101, &threads), D) == "");
    for (const index_t from : {0, 13, 60}) {
      CHECK(mneme_test::bit_difference<float>(p.bag(on, from, from + 40), Y.view().range(from, from + 40)) ==
            "");
      CHECK(mneme_test::bit_difference<float>(p.dot(on, from, from + 1), D.view().range(from, from + 1)) ==
            "");
    }
  }
}

TEST_CASE("embedding_bag: nothing selected reads zeros, whatever the weights") {
  auto p = problem<float>::random(2, 5, 40);
  for (index_t m = 0; m < 5; ++m) {
    p.ids.view()[0][m] = -1;
    p.w.view()[0][m] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto check = [&](auto on) {
    const auto Y = p.bag(on, 0, 2), D = p.dot(on, 0, 2);
    for (const float y : Y.view()[0]) CHECK(y == 0);
    for (const float d : D.view()[0]) CHECK(d == 0);
    const auto none = problem<float>::random(1, 0, 40).bag(on, 0, 1);
    for (const float y : none.view()[0]) CHECK(y == 0);
  };
  check(native{});
  check(reference{});
}

TEST_CASE("embedding_bag: one row of weight 1 is the stored row") {
  auto p = problem<float>::random(3, 1, 64, dtype::q8_0);
  for (index_t r = 0; r < 3; ++r) p.ids.view()[r][0] = 7 * r, p.w.view()[r][0] = 1;
  const auto Y = p.bag(native{}, 0, 3);
  float row[64];
  for (index_t r = 0; r < 3; ++r) {
    decode_row<simd::scalar>(p.table.type(), p.table.row(7 * r), 64, row);
    CHECK(mneme_test::same_bits(Y.view()[r].data(), row, 64));
  }
}
