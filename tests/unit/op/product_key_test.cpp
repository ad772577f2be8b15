// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/product_key.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"
#include "product_key_case.hpp"

using namespace mneme;
using mneme_test::golden;
using mneme_test::matrix;
using mneme_test::random_rows;
using mneme_test::same_bits;
using mneme_test::test_archs;
using product_key_test::selected;
using product_key_test::ugly;

namespace {

// See matmul_test: gcc contracts products and sums of narrower architectures in a unit with FMA.
using bit_stable_archs = std::tuple<simd::scalar, simd::native>;

template <class T>
struct problem {
  weight K, V;
  index_t top_k;
  product_key_gate gate;
  matrix<T> Q;

  static problem random(index_t rows, index_t heads, index_t n, index_t dk, index_t dv, index_t top_k,
                        product_key_gate gate = product_key_gate::softmax, dtype type = dtype::f32) {
    return {uniform_weight({2 * heads, n, dk}, dk, random_stream(1, 1)),
            stored_as(uniform_weight({n * n, dv}, 1, random_stream(1, 2)), type), top_k, gate,
            matrix<T>(random_rows<T>(rows, 2 * heads * dk, 0, 3).view(), ugly)};
  }
  template <class Backend>
  matrix<T> run(mat_view<const T> rows, executor* threads = nullptr) const {
    context ctx;
    ctx.threads = threads;
    matrix<T> Y(rows.rows(), V.cols(), ugly);
    kernel<product_key_read, Backend>::template run<T>(ctx, K, V, top_k, gate, rows, Y.view());
    CHECK(Y.surrounding_untouched());
    return Y;
  }
  template <class Backend>
  matrix<T> run() const {
    return run<Backend>(Q.view());
  }
};

template <class Arch, class T>
void read_agrees_with_reference(const problem<T>& p) {
  CAPTURE(p.Q.rows(), shape_text(p.K.shape()), shape_text(p.V.shape()), info(p.V.type()).name, p.top_k,
          sizeof(T));
  const problem<double> oracle{p.K, p.V, p.top_k, p.gate, mneme_test::widened<T>(p.Q.view())};
  const mneme_test::tolerance allowed{
      .eps = mneme_test::epsilon<T>, .rows = 0, .width = p.K.cols() + p.top_k};
  CHECK(mneme_test::difference<T, double>(p.template run<cpu<Arch>>(), oracle.run<reference>(), allowed) ==
        "");
}

// Scores of a golden case, selected and weighted as the package does.
template <class T, class Arch>
void meets_golden_values(double bound) {
  const golden file("product_key_memory");
  CHECK(file.cases().size() == 4);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto number = [&](const char* flag) {
      return static_cast<index_t>(std::stoi(file.flag(name, flag)));
    };
    const index_t H = number("heads"), n = number("num_keys"), k = number("topk"), dk = number("dim_head");
    const auto gate = file.flag(name, "gate") == "relu" ? product_key_gate::relu : product_key_gate::softmax;
    const weight K = mneme_test::golden_weight(file, name, "keys", {2 * H, n, dk});
    const auto X = mneme_test::golden_matrix<T>(file, name, "x");
    context ctx;
    matrix<T> Q(X.rows(), 2 * H * dk);
    kernel<matmul, cpu<Arch>>::template run<T>(ctx, mneme_test::golden_weight(file, name, "query_weight"), X,
                                               Q.view());
    kernel<product_key_normalise, cpu<Arch>>::template run<T>(
        ctx, mneme_test::golden_weight(file, name, "norm_weight"),
        mneme_test::golden_weight(file, name, "norm_bias"), std::stod(file.flag(name, "eps")),
        mat_view<T>(Q.view().data(), X.rows() * 2 * H, dk));

    const auto scores = mneme_test::golden_matrix<double>(file, name, "scores", k);
    const auto indices = file.values(name, "indices");
    matrix<T> s1(1, n), s2(1, n);
    for (index_t th = 0; th < X.rows() * H; ++th) {
      const index_t t = th / H, h = th % H;
      const auto half = [&](index_t p, matrix<T>& s) {
        const weight keys(K.row((2 * h + p) * n), {n, dk, 1}, 2, K.type(), nullptr);
        kernel<matmul, cpu<Arch>>::template run<T>(
            ctx, keys, Q.view().range(t, t + 1).columns((2 * h + p) * dk, dk), s.view());
      };
      half(0, s1);
      half(1, s2);
      const auto got = selected<cpu<Arch>>(s1, s2, k);
      for (index_t m = 0; m < k; ++m) {
        CHECK(got.id[static_cast<std::size_t>(m)] ==
              static_cast<index_t>(indices[static_cast<std::size_t>(th * k + m)]));
        CHECK(std::abs(static_cast<double>(got.value[static_cast<std::size_t>(m)]) - scores.view()[th][m]) <=
              bound * 10);
      }
    }
    const problem<T> p{K, mneme_test::golden_weight(file, name, "values"), k, gate, Q};
    const auto expected = mneme_test::golden_matrix<double>(file, name, "y");
    CHECK(mneme_test::golden_error<T>(p.template run<cpu<Arch>>(), expected) < bound);
    CHECK(mneme_test::golden_error<T>(p.template run<reference>(), expected) < bound);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("product_key_read agrees with its reference", "", test_archs) {
  for (const auto gate : {product_key_gate::softmax, product_key_gate::relu})
    for (const index_t rows : {1, 3, 50}) {
      read_agrees_with_reference<TestType>(problem<float>::random(rows, 1, 5, 3, 7, 4, gate));
      read_agrees_with_reference<TestType>(problem<float>::random(rows, 3, 11, 35, 33, 8, gate));
      read_agrees_with_reference<TestType>(problem<double>::random(rows, 2, 13, 17, 70, 17, gate));
    }
  read_agrees_with_reference<TestType>(problem<float>::random(2, 2, 40, 16, 300, 200));
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    read_agrees_with_reference<TestType>(
        problem<float>::random(3, 2, 9, 16, 160, 6, product_key_gate::softmax, type));
    if (info(type).block == 1)
      read_agrees_with_reference<TestType>(
          problem<double>::random(3, 1, 9, 16, 45, 6, product_key_gate::softmax, type));
  }
}

TEMPLATE_LIST_TEST_CASE("product_key meets the golden values", "", test_archs) {
  meets_golden_values<double, TestType>(1e-12);
  meets_golden_values<float, TestType>(1e-5);
}

TEMPLATE_LIST_TEST_CASE("product_key_read of all values is full softmax attention", "", test_archs) {
  constexpr index_t n = 6, dk = 5, dv = 9;
  const auto p = problem<double>::random(4, 1, n, dk, dv, n * n);
  const auto y = p.run<cpu<TestType>>();
  for (index_t r = 0; r < 4; ++r) {
    double score[n * n], total = 0;
    for (index_t id = 0; id < n * n; ++id) {
      score[id] = 0;
      for (index_t d = 0; d < dk; ++d) {
        score[id] += static_cast<double>(data<float>(p.K)[id / n * dk + d]) * p.Q.view()[r][d];
        score[id] += static_cast<double>(data<float>(p.K)[(n + id % n) * dk + d]) * p.Q.view()[r][dk + d];
      }
      total += std::exp(score[id]);
    }
    for (index_t c = 0; c < dv; ++c) {
      double expected = 0;
      for (index_t id = 0; id < n * n; ++id)
        expected += std::exp(score[id]) / total * static_cast<double>(data<float>(p.V)[id * dv + c]);
      CHECK(std::abs(y.view()[r][c] - expected) < 1e-12);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("product_key_read: sub-keys and values permuted alike change nothing", "",
                        bit_stable_archs) {
  constexpr index_t n = 11, dk = 7, dv = 20;
  const auto p = problem<float>::random(9, 2, n, dk, dv, 5);
  problem<float> other = p;
  std::vector<index_t> first(n), second(n);
  for (index_t i = 0; i < n; ++i) {
    first[static_cast<std::size_t>(i)] = (3 * i + 4) % n;
    second[static_cast<std::size_t>(i)] = (7 * i + 1) % n;
  }
  float *K = edit<float>(other.K), *V = edit<float>(other.V);
  for (index_t i = 0; i < n; ++i) {
    const index_t to[] = {first[static_cast<std::size_t>(i)], second[static_cast<std::size_t>(i)]};
    for (index_t half = 0; half < 4; ++half)
      std::copy_n(data<float>(p.K) + (half * n + i) * dk, dk, K + (half * n + to[half % 2]) * dk);
    for (index_t j = 0; j < n; ++j)
      std::copy_n(data<float>(p.V) + (i * n + j) * dv, dv,
                  V + (to[0] * n + second[static_cast<std::size_t>(j)]) * dv);
  }
  CHECK(mneme_test::bit_difference<float>(other.run<cpu<TestType>>(), p.run<cpu<TestType>>()) == "");
}

TEMPLATE_LIST_TEST_CASE("product_key_read: the bits of a row depend on nothing beside it", "",
                        bit_stable_archs) {
  for (const dtype type : {dtype::f32, dtype::q8_0}) {
    const auto p = problem<float>::random(101, 2, 12, 20, 64, 7, product_key_gate::softmax, type);
    const auto whole = p.run<cpu<TestType>>();
    for (const index_t rows : {1, 2, 5, 7, 13, 50})
      for (index_t from = 0; from + rows <= 101; from += 17) {
        const auto some = p.run<cpu<TestType>>(p.Q.view().range(from, from + rows));
        CHECK(mneme_test::bit_difference<float>(some, whole.view().range(from, from + rows)) == "");
      }
    mneme_test::reverse_executor threads;
    CHECK(mneme_test::bit_difference<float>(p.run<cpu<TestType>>(p.Q.view(), &threads), whole) == "");
  }
}

TEMPLATE_LIST_TEST_CASE("product_key_read: a query of NaN reads zeros", "", test_archs) {
  auto p = problem<float>::random(3, 1, 6, 8, 33, 4);
  const auto clean = p.run<cpu<TestType>>();
  for (float& q : p.Q.view()[1]) q = std::numeric_limits<float>::quiet_NaN();
  const auto y = p.run<cpu<TestType>>();
  for (index_t c = 0; c < 33; ++c) {
    CHECK(y.view()[1][c] == 0);
    CHECK(same_bits(&y.view()[0][c], &clean.view()[0][c], 1));
    CHECK(same_bits(&y.view()[2][c], &clean.view()[2][c], 1));
  }
}

TEMPLATE_LIST_TEST_CASE("product_key_normalise agrees with its reference", "", test_archs) {
  for (const index_t D : {1, 2, 5, 16, 33, 64}) {
    CAPTURE(D);
    const weight w = uniform_weight({D}, 1, random_stream(1, 5)),
                 b = uniform_weight({D}, 1, random_stream(1, 6));
    const auto check = [&]<class T>(T shift) {
      matrix<T> X(random_rows<T>(7, D, 0, 8).view(), ugly);
      for (index_t r = 0; r < 7; ++r)
        for (T& x : X.view()[r]) x += shift;
      auto expected = mneme_test::widened<T>(X.view());
      context ctx;
      kernel<product_key_normalise, reference>::run<double>(ctx, w, b, 1e-5, expected.view());
      kernel<product_key_normalise, cpu<TestType>>::template run<T>(ctx, w, b, 1e-5, X.view());
      const mneme_test::tolerance allowed{
          .eps = mneme_test::epsilon<T> * (1 + std::abs(shift)), .rows = 0, .width = D};
      CHECK(mneme_test::difference<T, double>(X, expected, allowed) == "");
      CHECK(X.surrounding_untouched());
    };
    check(float{0});
    check(float{100});
    check(double{0});
  }
}
