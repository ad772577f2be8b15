// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/attention.hpp>

#include "attention_case.hpp"
#include "attention_stored.hpp"
#include "catch.hpp"

using namespace mneme;
using namespace mneme_test;
using attention_test::run_of;
using attention_test::stored_entries;

namespace {

template <dtype D, class T, class Backend>
constexpr run_of<T, kv_rows<D>> kernel_on = &kernel<attention, Backend>::run;
template <dtype D, class T, class Archs = archs_of<T>>
auto kernels_on() {
  return on_archs<Archs>([]<class Arch>() { return kernel_on<D, T, cpu<Arch>>; });
}

// Answers to Q; the state are the probabilities of one entry more than there are, or none if it has no rows.
template <class T, class E>
op_run<T> answers(run_of<T, E> run, const E& kv, double scale, mat_view<const T> Q) {
  return [=](tensors<T>& P, index_t from, index_t to, index_t) {
    matrix<T> O(to - from, kv.d_value, {5, 1});
    context ctx;
    run(ctx, kv, scale, Q.range(from, to), O.view(), P.empty() ? mat_view<T>() : P[0].view(), {});
    return O;
  };
}
template <class T, class E>
op_result<T> attend(run_of<T, E> run, const E& kv, double scale, mat_view<const T> Q, bool want_p = true) {
  tensors<T> P;
  if (want_p) P.push_back(matrix<T>(Q.rows(), kv.size + 3, {5, 1}));
  return result_of<T>(answers<T>(run, kv, scale, Q), P, Q.rows(), Q.rows());
}
template <class T>
matrix<T> queries(index_t G, index_t d, T times = 1) {
  matrix<T> Q(random_rows<T>(G, d, 0, 5).view(), {3, 1});
  for (index_t g = 0; g < G; ++g)
    for (T& q : Q.view()[g]) q *= times;
  return Q;
}

// A score is a sum of d products; its rounding error is relative to their magnitudes and becomes a relative
// error of e^score. Probabilities and outputs sum up `size` of those.
template <dtype D, class T>
tolerance allowed(const kv_rows<D>& kv, double scale, const matrix<T>& Q) {
  double largest = 0;
  std::vector<double> key(static_cast<std::size_t>(kv.padded(kv.d_key)));
  for (index_t i = 0; i < kv.size; ++i) {
    decode_row<D, simd::scalar>(kv.key(i), kv.padded(kv.d_key), key.data());
    for (index_t g = 0; g < Q.rows(); ++g) {
      double sum = 0;
      for (index_t c = 0; c < kv.d_key; ++c)
        sum += std::abs(static_cast<double>(Q.view()[g][c]) * key[static_cast<std::size_t>(c)]);
      largest = std::max(largest, scale * sum);
    }
  }
  const double growth = std::sqrt(static_cast<double>(kv.size)) + 2 * largest;
  return {epsilon<T> * (1 + growth) / 8, 0, 0, 1};
}
// Whether the probabilities sum to one, and what lies behind them is still poison.
template <class T>
void check_probabilities(const matrix<T>& P, index_t size, const tolerance& allowed) {
  for (index_t g = 0; g < P.rows(); ++g) {
    double sum = 0;
    for (T p : P.view()[g].sub(0, size)) sum += static_cast<double>(p);
    CHECK(std::abs(sum - (size > 0)) < 16 * tolerance::c * allowed.eps);
    for (T untouched : P.view()[g].sub(size, 3)) CHECK(std::isnan(untouched));
  }
}

template <dtype D, class T>
void agrees_with_reference(const stored_entries<D>& stored, double scale, const matrix<T>& Q,
                           const auto& kernels) {
  const kv_rows<D> kv = stored.all();
  const matrix<double> wide = widened<T>(Q.view());
  const auto expected = attend<double>(kernel_on<D, double, reference>, kv, scale, wide);
  const tolerance bound = allowed(kv, scale, Q);
  for (const auto& [arch, run] : kernels) {
    CAPTURE(arch, kv.size, Q.rows(), kv.d_key, kv.d_value, sizeof(T));
    const tensors<T> P{matrix<T>(Q.rows(), kv.size + 3, {5, 1})};
    CHECK(backend_fault(answers<T>(run, kv, scale, Q), P, Q.rows(), Q.rows(), expected, bound) == "");
    check_probabilities(attend<T>(run, kv, scale, Q).state[0], kv.size, bound);
  }
}

template <dtype D, class T>
void check_shapes(const auto& kernels) {
  struct shape {
    index_t size, G, d_key, d_value;
  };
  for (const auto& [size, G, d_key, d_value] :
       {shape{0, 3, 5, 7}, shape{1, 1, 1, 1}, shape{2, 2, 33, 8}, shape{7, 3, 8, 19}, shape{63, 4, 64, 64},
        shape{64, 5, 17, 3}, shape{65, 6, 16, 65}, shape{70, 7, 96, 32}, shape{130, 7, 1, 20},
        shape{193, 9, 24, 130}})
    agrees_with_reference<D, T>(stored_entries<D>(size, d_key, d_value),
                                1 / std::sqrt(static_cast<double>(d_key)), queries<T>(G, d_key), kernels);
}

using f32_entries = stored_entries<dtype::f32>;

}  // namespace

// Entries that are read where they stand, and entries that are decoded: on every architecture. How a type is
// decoded, math/ tests.
TEST_CASE("attention agrees with its reference", "[L16][attention]") {
  check_shapes<dtype::f32, float>(kernels_on<dtype::f32, float>());
  check_shapes<dtype::q8_0, float>(kernels_on<dtype::q8_0, float>());
  using native_alone = std::tuple<simd::native>;
  check_shapes<dtype::bf16, float>(kernels_on<dtype::bf16, float, native_alone>());
  check_shapes<dtype::f16, float>(kernels_on<dtype::f16, float, native_alone>());
  check_shapes<dtype::q4_0, float>(kernels_on<dtype::q4_0, float, native_alone>());
  check_shapes<dtype::f32, double>(kernels_on<dtype::f32, double>());
  check_shapes<dtype::f64, double>(kernels_on<dtype::f64, double>());
}

TEST_CASE("attention to no entries is zero, to one entry its value") {
  const f32_entries none(0, 4, 6), one(1, 5, 7);
  for (const auto& [arch, run] : kernels_on<dtype::f32, float>()) {
    CAPTURE(arch);
    const auto zero = attend<float>(run, none.all(), 1, queries<float>(3, 4));
    for (index_t g = 0; g < 3; ++g)
      for (float o : zero.outputs.view()[g]) CHECK(o == 0);
    const auto got = attend<float>(run, one.all(), 0.3, queries<float>(4, 5));
    for (index_t g = 0; g < 4; ++g) {
      CHECK(same_bits(got.outputs.view()[g].data(), reinterpret_cast<const float*>(one.all().value(0)), 7));
      CHECK(got.state[0].view()[g][0] == 1);
    }
  }
}

TEST_CASE("attention with very unequal scores") {
  const f32_entries kv(150, 24, 10);
  for (float times : {10.0f, 100.0f, 3000.0f}) {
    CAPTURE(times);
    const auto Q = queries<float>(5, 24, times);
    agrees_with_reference<dtype::f32, float>(kv, 0.2, Q, kernels_on<dtype::f32, float>());
    for (const auto& [arch, run] : kernels_on<dtype::f32, float>()) {
      const matrix<float> O = attend<float>(run, kv.all(), 0.2, Q).outputs;
      for (index_t g = 0; g < 5; ++g)
        for (float o : O.view()[g]) CHECK(std::isfinite(o));
    }
  }
}

TEST_CASE("asking for the probabilities never changes the answer") {
  for (index_t size : {1, 64, 65, 200}) {
    const stored_entries<dtype::q8_0> kv(size, 20, 35);
    const auto Q = queries<float>(6, 20);
    for (const auto& [arch, run] : kernels_on<dtype::q8_0, float>()) {
      CAPTURE(arch, size);
      CHECK(attend<float>(run, kv.all(), 0.2, Q, true).outputs ==
            attend<float>(run, kv.all(), 0.2, Q, false).outputs);
    }
  }
}

TEST_CASE("the bits of a query's answer do not depend on the other queries") {
  const f32_entries kv(140, 19, 37);
  const auto Q = queries<float>(9, 19);
  for (const auto& [arch, run] : kernels_on<dtype::f32, float>()) {
    CAPTURE(arch);
    CHECK(company_fault(answers<float>(run, kv.all(), 0.25, Q), 9) == "");
    const auto probabilities = [&](index_t from, index_t to) {
      return attend<float>(run, kv.all(), 0.25, Q.view().range(from, to)).state[0];
    };
    const matrix<float> together = probabilities(0, 9);
    for (index_t g = 0; g < 9; ++g)
      CHECK(same_bits(probabilities(g, g + 1).view()[0].data(), together.view()[g].data(), 140));
  }
}

TEST_CASE("attention reads only the entries that it was given") {
  const f32_entries longer(100, 6, 6), shorter(70, 6, 6);
  const auto Q = queries<float>(2, 6);
  for (const auto& [arch, run] : kernels_on<dtype::f32, float>()) {
    CAPTURE(arch);
    CHECK(attend<float>(run, longer.first(70), 0.4, Q).outputs ==
          attend<float>(run, shorter.all(), 0.4, Q).outputs);
  }
}
