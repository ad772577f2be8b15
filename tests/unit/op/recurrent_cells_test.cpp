// SPDX-License-Identifier: Apache-2.0
// The recurrent cells in one file: most of what it compiles is the product that both wait for.
#include <mneme/backend/cpu/gru.hpp>
#include <mneme/backend/cpu/lstm.hpp>
#include <mneme/math/encode.hpp>
#include <mneme/math/random.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

template <class Op>
constexpr index_t gates = std::is_same_v<Op, gru_recurrence> ? 3 : 4;

template <class Op, class T>
struct cell {
  weight W;          // [gates H, H]
  matrix<T> b;       // [1, gates H], of the recurrent part: gru alone
  matrix<T> P;       // [T, gates H]
  tensors<T> start;  // h [1, H], and c of the lstm

  static cell random(index_t rows, index_t H, dtype type = dtype::f32, placement at = {}) {
    constexpr index_t G = gates<Op>;
    const auto draw = [&](index_t r, index_t n, std::uint64_t seed) {
      return matrix<T>(random_rows<T>(r, n, 0, seed).view(), at);
    };
    return {stored_as(uniform_weight({G * H, H}, H, random_stream(1, 9)), type), draw(1, G * H, 5),
            draw(rows, G * H, 2), tensors<T>(G - 2, draw(1, H, 3))};
  }
  cell<Op, double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    cell<Op, double> p{W, wide(b), wide(P), {}};
    for (const matrix<T>& s : start) p.start.push_back(wide(s));
    return p;
  }
  op_run<T> with(kernel_of<Op, T> run, placement at = {}) const {
    return [=, this](tensors<T>& state, index_t from, index_t to, index_t outs) {
      context ctx;
      matrix<T> Y(outs, W.cols(), at);
      const auto rows = P.view().range(from, to);
      if constexpr (std::is_same_v<Op, gru_recurrence>)
        run(ctx, W, b.view()[0], rows, state[0].view()[0], Y.view());
      else
        run(ctx, W, rows, state[0].view()[0], state[1].view()[0], Y.view());
      return Y;
    };
  }
};

template <class Op, class T>
void agrees_with_reference(index_t rows, index_t H, dtype type, placement at) {
  const auto p = cell<Op, T>::random(rows, H, type, at);
  const auto oracle = p.widened();
  const auto expected = result_of<double>(oracle.with(reference_of<Op, double>), oracle.start, rows, rows);
  const tolerance allowed{.eps = epsilon<T>, .rows = rows, .width = H};
  for (const auto& [arch, run] : kernels_of<Op, T>()) {
    CAPTURE(arch, rows, H, info(type).name, sizeof(T));
    CHECK(backend_fault(p.with(run, at), p.start, rows, rows, expected, allowed) == "");
  }
}
template <class Op>
void cell_splits_to_the_bit() {
  for (const auto& [arch, run] : kernels_of<Op, float>())
    for (const index_t H : {5, 21}) {
      CAPTURE(arch, H);
      const auto p = cell<Op, float>::random(8, H);
      CHECK(split_fault(p.with(run), p.start, 8) == "");
    }
}

// The input part of the gates of a golden case: W_ih x + b_ih + b_hh in double.
template <class T>
cell<lstm_recurrence, T> golden_problem(const golden& file, const std::string& name) {
  const auto tensor = [&](const char* what) { return golden_matrix<double>(file, name, what); };
  const auto x = tensor("x"), W = tensor("weight_ih_l0"), b = tensor("bias_ih_l0"),
             also = tensor("bias_hh_l0");
  matrix<T> P(x.rows(), W.rows());
  for (index_t t = 0; t < x.rows(); ++t)
    for (index_t n = 0; n < W.rows(); ++n) {
      double sum = b.view()[0][n] + also.view()[0][n];
      for (index_t k = 0; k < x.cols(); ++k) sum += W.view()[n][k] * x.view()[t][k];
      P.view()[t][n] = static_cast<T>(sum);
    }
  return {golden_weight(file, name, "weight_hh_l0"),
          {},
          P,
          {golden_matrix<T>(file, name, "h0"), golden_matrix<T>(file, name, "c0")}};
}
template <class T>
void meets_golden_values(kernel_of<lstm_recurrence, T> run, double bound) {
  const golden file("lstm");
  CHECK(file.cases().size() == 4);
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto p = golden_problem<T>(file, name);
    const auto got = result_of<T>(p.with(run), p.start, p.P.rows(), p.P.rows());
    const auto error = [&](const matrix<T>& m, const char* what) {
      return golden_error<T>(m, golden_matrix<double>(file, name, what));
    };
    CHECK(error(got.outputs, "y") < bound);
    CHECK(error(got.state[0], "h1") < bound);
    CHECK(error(got.state[1], "c1") < bound);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("sums: the sum of each of width packs", "", test_archs) {
  const auto wrong = []<class T>(T) {
    using P = simd::pack<T, TestType>;
    constexpr index_t W = simd::width<P>;
    T x[W][W], sum[W], one_by_one[W];
    P packs[W];
    for (index_t i = 0; i < W; ++i) {
      for (index_t j = 0; j < W; ++j) x[i][j] = static_cast<T>(100 * i + j * (i + 3));  // sums are exact
      packs[i] = simd::load<P>(x[i]);
    }
    simd::store(sum, simd::sums(packs));
    simd::store(one_by_one, simd::sums_from<P>([&](index_t i) { return packs[i]; }));
    index_t sums_wrong = 0;
    for (index_t i = 0; i < W; ++i) {
      T expected = 0;
      for (T v : x[i]) expected += v;
      sums_wrong += sum[i] != expected || one_by_one[i] != expected;
    }
    return sums_wrong;
  };
  CHECK(wrong(float{}) + wrong(double{}) == 0);
}

TEST_CASE("lstm meets the golden values") {
  meets_golden_values<double>(reference_of<lstm_recurrence, double>, 1e-12);
  for (const auto& [arch, run] : kernels_of<lstm_recurrence, double>())
    meets_golden_values<double>(run, 1e-12);
  for (const auto& [arch, run] : kernels_of<lstm_recurrence, float>()) meets_golden_values<float>(run, 2e-5);
}

TEST_CASE("lstm agrees with its reference", "[L16][lstm_recurrence]") {
  for (const index_t H : {1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 48, 67})
    for (const index_t rows : {1, 9}) {
      agrees_with_reference<lstm_recurrence, float>(rows, H, dtype::f32, ugly);
      agrees_with_reference<lstm_recurrence, double>(rows, H, dtype::f32, {});
    }
  for (const dtype type : {dtype::f64, dtype::bf16, dtype::f16, dtype::q8_0, dtype::q4_0, dtype::q4_1}) {
    agrees_with_reference<lstm_recurrence, float>(7, 64, type, {});
    agrees_with_reference<lstm_recurrence, double>(7, 32, type, ugly);  // f64 has a path of its own
  }
}

TEST_CASE("lstm is bit-equal however rows are split into calls") {
  cell_splits_to_the_bit<lstm_recurrence>();
}

TEST_CASE("lstm: scalar anchor of the specification") {
  // W = 0.5 on the input, U = 0.25, no bias, inputs 1, -1, 0.5.
  const matrix<double> zero(1, 1, {}, 0.0);
  cell<lstm_recurrence, double> p{constant_weight({4, 1}, 0.25), {}, matrix<double>(3, 4), {zero, zero}};
  const double x[] = {1, -1, 0.5};
  for (index_t t = 0; t < 3; ++t)
    for (double& v : p.P.view()[t]) v = 0.5 * x[t];
  const auto y = result_of<double>(p.with(native_of<lstm_recurrence, double>), p.start, 3, 3).outputs;
  CHECK(std::abs(y.view()[0][0] - 0.1742697187) < 1e-10);
  CHECK(std::abs(y.view()[1][0] + 0.0209657655) < 1e-10);
  CHECK(std::abs(y.view()[2][0] - 0.0582636685) < 1e-10);
}

TEST_CASE("lstm: open and closed gates", "[L20]") {
  constexpr index_t H = 19;
  auto p = cell<lstm_recurrence, float>::random(30, H);
  for (index_t t = 0; t < 30; ++t)
    for (index_t j = 0; j < H; ++j) p.P.view()[t][j] = -200, p.P.view()[t][H + j] = 200;  // i = 0, f = 1
  for (const auto& [arch, run] : kernels_of<lstm_recurrence, float>()) {
    CAPTURE(arch);
    const auto got = result_of<float>(p.with(run), p.start, 30, 30);
    CHECK(got.state[1] == p.start[1]);  // to the bit: nothing is written, nothing fades
    for (index_t t = 0; t < 30; ++t)
      for (float v : got.outputs.view()[t]) CHECK(std::abs(v) < 1);
  }
}

TEST_CASE("lstm: NaN enters with its row, and stays") {
  auto p = cell<lstm_recurrence, float>::random(4, 17);
  const auto clean = p;
  for (float& v : p.P.view()[2]) v = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [arch, run] : kernels_of<lstm_recurrence, float>()) {
    CAPTURE(arch);
    const auto y = result_of<float>(p.with(run), p.start, 4, 4).outputs,
               expected = result_of<float>(clean.with(run), p.start, 4, 4).outputs;
    CHECK(same_bits(y.view()[0].data(), expected.view()[0].data(), 2 * 17));
    for (index_t t = 2; t < 4; ++t)
      for (float v : y.view()[t]) CHECK(std::isnan(v));
  }
}

TEST_CASE("gru agrees with its reference", "[L16][gru_recurrence]") {
  for (const index_t H : {1, 5, 16, 17, 48, 67})
    agrees_with_reference<gru_recurrence, float>(9, H, dtype::f32, ugly);
  for (const dtype type : {dtype::bf16, dtype::q8_0, dtype::q4_1})
    agrees_with_reference<gru_recurrence, float>(7, 64, type, {});
}

TEST_CASE("gru is bit-equal however rows are split into calls") { cell_splits_to_the_bit<gru_recurrence>(); }

TEST_CASE("gru: an update gate of one keeps the state to the bit", "[L20]") {
  constexpr index_t H = 19;
  auto p = cell<gru_recurrence, float>::random(30, H);
  for (index_t t = 0; t < 30; ++t) std::fill_n(p.P.view()[t].begin() + H, H, 200.0f);
  for (const auto& [arch, run] : kernels_of<gru_recurrence, float>()) {
    CAPTURE(arch);
    CHECK(result_of<float>(p.with(run), p.start, 30, 30).state[0] == p.start[0]);
  }
}
