// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/product_key.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/executors.hpp"
#include "op_laws.hpp"
#include "product_key_case.hpp"

using namespace mneme;
using namespace mneme_test;
using product_key_test::selected;
using product_key_test::ugly;

namespace {

template <class T>
struct keys_problem {
  weight K, V;
  index_t top_k;
  product_key_gate gate;
  matrix<T> Q;
  executor* threads = nullptr;

  static keys_problem random(index_t rows, index_t heads, index_t n, index_t dk, index_t dv, index_t top_k,
                             product_key_gate gate = product_key_gate::softmax, dtype type = dtype::f32) {
    return {uniform_weight({2 * heads, n, dk}, dk, random_stream(1, 1)),
            stored_as(uniform_weight({n * n, dv}, 1, random_stream(1, 2)), type), top_k, gate,
            matrix<T>(random_rows<T>(rows, 2 * heads * dk, 0, 3).view(), ugly)};
  }
  keys_problem<double> widened() const { return {K, V, top_k, gate, mneme_test::widened<T>(Q.view())}; }
  op_run<T> read(kernel_of<product_key_read, T> run) const {
    return [=, this](tensors<T>&, index_t from, index_t to, index_t) {
      context ctx;
      ctx.threads = threads;
      matrix<T> Y(to - from, V.cols(), ugly);
      run(ctx, K, V, top_k, gate, Q.view().range(from, to), Y.view());
      return Y;
    };
  }
  // The weights; as a state, the ids as numbers.
  op_run<T> address(kernel_of<product_key_address, T> run) const {
    return [=, this](tensors<T>& numbers, index_t from, index_t to, index_t) {
      context ctx;
      matrix<T> w(to - from, K.dim(0) / 2 * top_k, ugly);
      matrix<index_t> ids(w.rows(), w.cols());
      run(ctx, K, top_k, gate, Q.view().range(from, to), ids.view(), w.view());
      numbers[0] = matrix<T>(w.rows(), w.cols());
      for (index_t r = 0; r < w.rows(); ++r)
        for (index_t m = 0; m < w.cols(); ++m) numbers[0].view()[r][m] = static_cast<T>(ids.view()[r][m]);
      return w;
    };
  }
};
template <class T>
matrix<T> all_rows(const op_run<T>& run, const keys_problem<T>& p) {
  return result_of<T>(run, {}, p.Q.rows(), p.Q.rows()).outputs;
}

template <class T>
void read_agrees_with_reference(const keys_problem<T>& p) {
  const index_t R = p.Q.rows();
  const auto oracle = p.widened();
  const auto expected = result_of<double>(oracle.read(reference_of<product_key_read, double>), {}, R, R);
  const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = p.K.cols() + p.top_k};
  for (const auto& [arch, run] : kernels_of<product_key_read, T>()) {
    CAPTURE(arch, R, shape_text(p.K.shape()), shape_text(p.V.shape()), info(p.V.type()).name, p.top_k,
            sizeof(T));
    CHECK(backend_fault(p.read(run), {}, R, R, expected, allowed) == "");
  }
}

// Scores of a golden case, selected and weighted as the package does.
template <class Backend, class T>
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
    const weight K = golden_weight(file, name, "keys", {2 * H, n, dk});
    const auto X = golden_matrix<T>(file, name, "x");
    context ctx;
    matrix<T> Q(X.rows(), 2 * H * dk);
    kernel<matmul, Backend>::template run<T>(ctx, golden_weight(file, name, "query_weight"), X, Q.view());
    kernel<product_key_normalise, Backend>::template run<T>(
        ctx, golden_weight(file, name, "norm_weight"), golden_weight(file, name, "norm_bias"),
        std::stod(file.flag(name, "eps")), mat_view<T>(Q.view().data(), X.rows() * 2 * H, dk));

    const auto scores = golden_matrix<double>(file, name, "scores", k);
    const auto indices = file.values(name, "indices");
    matrix<T> s1(1, n), s2(1, n);
    for (index_t th = 0; th < X.rows() * H; ++th) {
      const index_t t = th / H, h = th % H;
      const auto half = [&](index_t p, matrix<T>& s) {
        const weight keys(K.row((2 * h + p) * n), {n, dk, 1}, 2, K.type(), nullptr);
        kernel<matmul, Backend>::template run<T>(
            ctx, keys, Q.view().range(t, t + 1).columns((2 * h + p) * dk, dk), s.view());
      };
      half(0, s1);
      half(1, s2);
      const auto got = selected<T>(&kernel<product_key_select, Backend>::template run<T>, s1, s2, k);
      for (index_t m = 0; m < k; ++m) {
        const auto at = static_cast<std::size_t>(m);
        CHECK(got.id[at] == static_cast<index_t>(indices[static_cast<std::size_t>(th * k + m)]));
        CHECK(std::abs(static_cast<double>(got.value[at]) - scores.view()[th][m]) <= bound * 10);
      }
    }
    const keys_problem<T> p{K, golden_weight(file, name, "values"), k, gate, Q};
    CHECK(golden_error<T>(all_rows(p.read(&kernel<product_key_read, Backend>::template run<T>), p),
                          golden_matrix<double>(file, name, "y")) < bound);
  }
}

}  // namespace

TEST_CASE("product_key_read agrees with its reference", "[L16][product_key_read]") {
  for (const auto gate : {product_key_gate::softmax, product_key_gate::relu})
    for (const index_t rows : {1, 3, 50}) {
      read_agrees_with_reference(keys_problem<float>::random(rows, 1, 5, 3, 7, 4, gate));
      read_agrees_with_reference(keys_problem<float>::random(rows, 3, 11, 35, 33, 8, gate));
      read_agrees_with_reference(keys_problem<float>::random(rows, 2, 13, 17, 70, 17, gate));
    }
  read_agrees_with_reference(keys_problem<float>::random(2, 2, 40, 16, 300, 200));
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    read_agrees_with_reference(
        keys_problem<float>::random(3, 2, 9, 16, 160, 6, product_key_gate::softmax, type));
  }
}

TEST_CASE("product_key_address agrees with its reference", "[L16][product_key_address]") {
  for (const auto gate : {product_key_gate::softmax, product_key_gate::relu}) {
    const auto p = keys_problem<float>::random(7, 2, 11, 19, 1, 5, gate);
    const auto oracle = p.widened();
    const auto expected =
        result_of<double>(oracle.address(reference_of<product_key_address, double>), {{}}, 7, 7);
    const tolerance allowed{
        .eps = epsilon<float>, .rows = 0, .width = 19 + 5};  // far less than from id to id
    for (const auto& [arch, run] : kernels_of<product_key_address, float>()) {
      CAPTURE(arch);
      CHECK(backend_fault(p.address(run), {{}}, 7, 7, expected, allowed) == "");
    }
  }
}

TEST_CASE("product_key meets the golden values") {
  meets_golden_values<reference, double>(1e-12);
  meets_golden_values<native, float>(1e-5);
}

TEST_CASE("product_key_read of all values is full softmax attention", "[L20]") {
  constexpr index_t n = 6, dk = 5, dv = 9;
  const auto p = keys_problem<double>::random(4, 1, n, dk, dv, n * n);
  const auto y = all_rows(p.read(reference_of<product_key_read, double>), p);
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

TEST_CASE("product_key_read: sub-keys and values permuted alike change nothing", "[L20]") {
  constexpr index_t n = 11, dk = 7, dv = 20;
  const auto p = keys_problem<float>::random(9, 2, n, dk, dv, 5);
  keys_problem<float> other = p;
  float *K = edit<float>(other.K), *V = edit<float>(other.V);
  const auto first = [](index_t i) { return (3 * i + 4) % n; };
  const auto second = [](index_t i) { return (7 * i + 1) % n; };
  for (index_t i = 0; i < n; ++i) {
    for (index_t half = 0; half < 4; ++half)
      std::copy_n(data<float>(p.K) + (half * n + i) * dk, dk,
                  K + (half * n + (half % 2 == 0 ? first(i) : second(i))) * dk);
    for (index_t j = 0; j < n; ++j)
      std::copy_n(data<float>(p.V) + (i * n + j) * dv, dv, V + (first(i) * n + second(j)) * dv);
  }
  for (const auto& [arch, run] : kernels_of<product_key_read, float>()) {
    CAPTURE(arch);
    CHECK(all_rows(other.read(run), other) == all_rows(p.read(run), p));
  }
}

TEST_CASE("product_key_read: the bits of a row depend on nothing beside it") {
  reverse_executor threads;
  for (const dtype type : {dtype::f32, dtype::q8_0}) {
    const auto p = keys_problem<float>::random(101, 2, 12, 20, 64, 7, product_key_gate::softmax, type);
    auto spread = p;
    spread.threads = &threads;
    for (const auto& [arch, run] : kernels_of<product_key_read, float>()) {
      CAPTURE(arch);
      CHECK(company_fault(p.read(run), 101) == "");
      CHECK(all_rows(spread.read(run), p) == all_rows(p.read(run), p));
    }
  }
}

TEST_CASE("product_key_read: a query of NaN reads zeros") {
  const auto p = keys_problem<float>::random(3, 1, 6, 8, 33, 4);
  auto wrong = p;
  for (float& q : wrong.Q.view()[1]) q = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [arch, run] : kernels_of<product_key_read, float>()) {
    CAPTURE(arch);
    const auto y = all_rows(wrong.read(run), p), clean = all_rows(p.read(run), p);
    for (const float v : y.view()[1]) CHECK(v == 0);
    for (const index_t r : {0, 2}) CHECK(same_bits(y.view()[r].data(), clean.view()[r].data(), 33));
  }
}

TEST_CASE("product_key_normalise agrees with its reference", "[L16][product_key_normalise]") {
  const auto examine = []<class T>(index_t D, T shift) {
    const weight w = uniform_weight({D}, 1, random_stream(1, 5)),
                 b = uniform_weight({D}, 1, random_stream(1, 6));
    matrix<T> X(random_rows<T>(7, D, 0, 8).view(), ugly);
    for (index_t r = 0; r < 7; ++r)
      for (T& x : X.view()[r]) x += shift;
    const auto in_place = [&]<class U>(kernel_of<product_key_normalise, U> run) -> op_run<U> {
      return [=](tensors<U>& rows, index_t, index_t, index_t) {
        context ctx;
        run(ctx, w, b, 1e-5, rows[0].view());
        return matrix<U>(0, D);
      };
    };
    const auto expected =
        result_of<double>(in_place.template operator()<double>(reference_of<product_key_normalise, double>),
                          {widened<T>(X.view())}, 7, 0);
    const tolerance allowed{.eps = epsilon<T> * (1 + std::abs(shift)), .rows = 0, .width = D};
    for (const auto& [arch, run] : kernels_of<product_key_normalise, T>()) {
      CAPTURE(D, arch, sizeof(T));
      CHECK(backend_fault(in_place.template operator()<T>(run), {X}, 7, 0, expected, allowed) == "");
    }
  };
  for (const index_t D : {1, 2, 5, 16, 33, 64}) {
    examine(D, 0.0f);
    examine(D, 100.0f);
    examine(D, 0.0);
  }
}
