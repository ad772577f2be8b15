// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/embedding_bag.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "laws/executors.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

template <class T>
struct bag_problem {
  weight table;
  matrix<index_t> ids;
  matrix<T> w, X;  // the weights of a bag; the vectors of the dot products
  executor* threads = nullptr;

  static bag_problem random(index_t rows, index_t per_row, index_t width, dtype type = dtype::f32,
                            placement where = ugly) {
    constexpr index_t N = 23;
    bag_problem p{stored_as(uniform_weight({N, width}, 1, random_stream(1, 2)), type),
                  {rows, per_row, where},
                  matrix<T>(random_rows<T>(rows, per_row, 0, 3).view(), ugly),
                  matrix<T>(random_rows<T>(rows, width, 0, 4).view(), ugly)};
    random_stream draw(1, 5);
    for (index_t r = 0; r < rows; ++r)
      for (index_t& id : p.ids.view()[r])
        id = static_cast<index_t>(draw.bits() % (N + 1)) - 1;  // -1 .. N - 1
    return p;
  }
  bag_problem<double> widened() const {
    return {table, ids, mneme_test::widened<T>(w.view()), mneme_test::widened<T>(X.view())};
  }
  op_run<T> bag(kernel_of<embedding_bag, T> run) const {
    return [=, this](tensors<T>&, index_t from, index_t to, index_t) {
      context ctx;
      ctx.threads = threads;
      matrix<T> Y(to - from, table.cols(), ugly);
      run(ctx, table, ids.view().range(from, to), w.view().range(from, to), Y.view());
      return Y;
    };
  }
  op_run<T> dot(kernel_of<embedding_dot, T> run) const {
    return [=, this](tensors<T>&, index_t from, index_t to, index_t) {
      context ctx;
      ctx.threads = threads;
      matrix<T> Y(to - from, ids.cols(), ugly);
      run(ctx, table, ids.view().range(from, to), X.view().range(from, to), Y.view());
      return Y;
    };
  }
};
template <class T>
matrix<T> all_rows(const op_run<T>& run, index_t rows) {
  return result_of<T>(run, {}, rows, rows).outputs;
}

template <class T>
void agrees_with_reference(const bag_problem<T>& p) {
  const index_t R = p.ids.rows();
  const auto oracle = p.widened();
  const auto examine = [&](const auto& kernels, auto with, const op_run<double>& reference, index_t terms) {
    const auto expected = result_of<double>(reference, {}, R, R);
    for (const auto& [arch, run] : kernels) {
      CAPTURE(arch, R, p.ids.cols(), shape_text(p.table.shape()), info(p.table.type()).name, sizeof(T));
      const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = terms};
      CHECK(backend_fault((p.*with)(run), {}, R, R, expected, allowed) == "");
    }
  };
  examine(kernels_of<embedding_bag, T>(), &bag_problem<T>::bag,
          oracle.bag(reference_of<embedding_bag, double>), p.ids.cols() + 1);
  examine(kernels_of<embedding_dot, T>(), &bag_problem<T>::dot,
          oracle.dot(reference_of<embedding_dot, double>), p.table.cols());
}

}  // namespace

TEST_CASE("embedding_bag and embedding_dot agree with their references",
          "[L16][embedding_bag][embedding_dot]") {
  for (const index_t width : {1, 31, 32, 33, 67, 160, 300})
    agrees_with_reference(bag_problem<float>::random(3, 11, width));
  for (const index_t rows : {1, 50})
    agrees_with_reference(bag_problem<float>::random(rows, 20, 35, dtype::f32, {}));
  agrees_with_reference(bag_problem<float>::random(5, 9, 133));
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1})
    agrees_with_reference(bag_problem<float>::random(4, 10, 96, type));
}

TEST_CASE("embedding_bag: the bits of a row depend on nothing beside it") {
  reverse_executor threads;
  for (const auto& where : {placement{}, ugly}) {
    const auto p = bag_problem<float>::random(101, 7, 70, dtype::f32, where);
    auto spread = p;
    spread.threads = &threads;
    for (const auto& [arch, run] : kernels_of<embedding_bag, float>()) {
      CAPTURE(arch);
      CHECK(company_fault(p.bag(run), 101) == "");
      CHECK(all_rows(spread.bag(run), 101) == all_rows(p.bag(run), 101));
    }
    for (const auto& [arch, run] : kernels_of<embedding_dot, float>()) {
      CAPTURE(arch);
      CHECK(company_fault(p.dot(run), 101) == "");
      CHECK(all_rows(spread.dot(run), 101) == all_rows(p.dot(run), 101));
    }
  }
}

TEST_CASE("embedding_bag: nothing selected reads zeros, whatever the weights") {
  auto p = bag_problem<float>::random(2, 5, 40);
  for (index_t m = 0; m < 5; ++m) {
    p.ids.view()[0][m] = -1;
    p.w.view()[0][m] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto none = bag_problem<float>::random(1, 0, 40);
  for (const auto& run : {native_of<embedding_bag, float>, reference_of<embedding_bag, float>}) {
    const matrix<float> Y = all_rows(p.bag(run), 2), empty = all_rows(none.bag(run), 1);
    for (const float y : Y.view()[0]) CHECK(y == 0);
    for (const float y : empty.view()[0]) CHECK(y == 0);
  }
  for (const auto& run : {native_of<embedding_dot, float>, reference_of<embedding_dot, float>}) {
    const matrix<float> D = all_rows(p.dot(run), 2);
    for (const float d : D.view()[0]) CHECK(d == 0);
  }
}

TEST_CASE("embedding_bag: one row of weight 1 is the stored row", "[L20]") {
  auto p = bag_problem<float>::random(3, 1, 64, dtype::q8_0);
  for (index_t r = 0; r < 3; ++r) p.ids.view()[r][0] = 7 * r, p.w.view()[r][0] = 1;
  const matrix<float> Y = all_rows(p.bag(native_of<embedding_bag, float>), 3);
  float row[64];
  for (index_t r = 0; r < 3; ++r) {
    decode_row<simd::scalar>(p.table.type(), p.table.row(7 * r), 64, row);
    CHECK(same_bits(Y.view()[r].data(), row, 64));
  }
}
