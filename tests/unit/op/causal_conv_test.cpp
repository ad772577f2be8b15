// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/causal_conv.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

template <class T>
struct conv_problem {
  matrix<T> x, w, bias, past;
  bool silu;

  static conv_problem random(index_t rows, index_t C, index_t K, bool bias, bool silu, placement at = {}) {
    std::uint64_t seed = 1;
    const auto draw = [&](index_t r) { return matrix<T>(random_rows<T>(r, C, 0, ++seed).view(), at); };
    conv_problem p{draw(rows), draw(K), draw(bias), {}, silu};
    p.past = draw(K - 1);
    return p;
  }
  conv_problem<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {wide(x), wide(w), wide(bias), wide(past), silu};
  }
  op_run<T> with(kernel_of<causal_conv, T> run, placement at = {}) const {
    return [=, this](tensors<T>& state, index_t from, index_t to, index_t outs) {
      causal_conv_taps<T> taps{.w = w, .silu = silu};
      if (bias.rows() > 0) taps.bias = bias.view()[0];
      context ctx;
      matrix<T> y(outs, x.cols(), at);
      run(ctx, taps, x.view().range(from, to), state[0].view(), y.view());
      return y;
    };
  }
};

template <class T>
void agrees_with_reference(index_t rows, index_t C, index_t K, bool bias, bool silu, placement at) {
  CAPTURE(rows, C, K, bias, silu, at.gap, at.shift, sizeof(T));
  const auto p = conv_problem<T>::random(rows, C, K, bias, silu, at);
  const auto oracle = p.widened();
  const auto expected =
      result_of<double>(oracle.with(reference_of<causal_conv, double>), {oracle.past}, rows, rows);
  const tolerance allowed{.eps = epsilon<T>, .rows = 0, .width = K};
  for (const auto& [arch, run] : kernels_of<causal_conv, T>()) {
    CAPTURE(arch);
    CHECK(backend_fault(p.with(run, at), {p.past}, rows, rows, expected, allowed) == "");
  }
}

template <class T>
void meets_golden_values(kernel_of<causal_conv, T> run, double bound) {
  const golden file("causal_conv1d");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto tensor = [&](const char* what) {
      return file.has(name, what) ? golden_matrix<T>(file, name, what) : matrix<T>(0, 0);
    };
    const matrix<T> weight = tensor("weight");
    const index_t C = weight.rows(), K = weight.cols();
    const matrix<T> bias = tensor("bias"), past = matrix<T>(tensor("state0").view(), {});
    conv_problem<T> p{tensor("x"), matrix<T>(K, C), bias, past, file.flag(name, "activation") == "silu"};
    for (index_t c = 0; c < C; ++c)
      for (index_t j = 0; j < K; ++j) p.w.view()[j][c] = weight.view()[c][j];
    const auto got = result_of<T>(p.with(run), {p.past}, p.x.rows(), p.x.rows());
    CHECK(golden_error<T>(got.outputs, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(got.state[0] == tensor("state1"));
  }
}

}  // namespace

TEST_CASE("causal_conv meets the golden values") {
  meets_golden_values<double>(reference_of<causal_conv, double>, 1e-12);
  for (const auto& [arch, run] : kernels_of<causal_conv, double>()) meets_golden_values<double>(run, 1e-12);
  for (const auto& [arch, run] : kernels_of<causal_conv, float>()) meets_golden_values<float>(run, 2e-6);
}

TEST_CASE("causal_conv agrees with its reference", "[L16][causal_conv]") {
  for (const index_t K : {1, 2, 3, 4, 7})
    for (const index_t C : {1, 16, 35})
      for (const index_t rows : {1, 2, 5, 13}) {
        agrees_with_reference<float>(rows, C, K, true, true, ugly);
        agrees_with_reference<double>(rows, C, K, false, true, {});
        agrees_with_reference<float>(rows, C, K, false, false, {});
      }
  agrees_with_reference<float>(3, 1037, 4, true, false, ugly);  // more channels than a slice
}

TEST_CASE("causal_conv is bit-equal however rows are split into calls") {
  for (const auto& [arch, run] : kernels_of<causal_conv, float>())
    for (const index_t K : {1, 4, 6}) {
      CAPTURE(arch, K);
      const auto p = conv_problem<float>::random(9, 21, K, true, true, ugly);
      CHECK(split_fault(p.with(run, ugly), {p.past}, 9) == "");
    }
}

TEST_CASE("causal_conv: a single tap delays its input") {
  for (const auto& [arch, run] : kernels_of<causal_conv, float>())
    for (const index_t K : {4, 5})
      for (index_t j = 0; j < K; ++j) {
        CAPTURE(arch, K, j);
        auto p = conv_problem<float>::random(8, 17, K, false, false);
        for (index_t i = 0; i < K; ++i)
          for (float& w : p.w.view()[i]) w = i == j ? 1.0f : 0.0f;
        const matrix<float> y = result_of<float>(p.with(run), {p.past}, 8, 8).outputs;
        for (index_t t = 0; t < 8; ++t) {
          const index_t at = t - (K - 1) + j;
          CHECK(same_bits(y.view()[t].data(), (at < 0 ? p.past.view()[at + K - 1] : p.x.view()[at]).data(),
                          17));
        }
      }
}
