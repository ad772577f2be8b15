// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/selective_scan.hpp>
#include <mneme/op/diagonal_scan.hpp>
#include <mneme/op/recurrence.hpp>

#include "catch.hpp"
#include "golden_tensors.hpp"
#include "laws/compare.hpp"
#include "op_laws.hpp"

using namespace mneme;
using namespace mneme_test;

namespace {

struct parts {  // which optional inputs take part
  bool bias = true, softplus = true, D = true, z = true;
};

// All inputs of one call, each anywhere in memory, poison around it.
template <class T>
struct ssm_problem {
  matrix<T> u, delta, A, B, C, bias, D, z, h;
  index_t groups;
  bool softplus;

  ssm_problem(index_t rows, index_t E, index_t N, index_t G, parts p = {}, placement at = {})
      : groups(G), softplus(p.softplus) {
    std::uint64_t seed = 1;
    const auto draw = [&](index_t r, index_t c) {
      return matrix<T>(random_rows<T>(r, c, 0, ++seed).view(), at);
    };
    u = draw(rows, E), delta = draw(rows, E), A = draw(E, N), B = draw(rows, G * N), C = draw(rows, G * N);
    bias = draw(p.bias, E), D = draw(p.D, E), z = draw(p.z ? rows : 0, E), h = draw(E, N);
    for (index_t e = 0; e < E; ++e)
      for (T& a : A.view()[e]) a = -std::abs(a) - T(0.01);
    if (!p.softplus)  // without softplus, step sizes are positive as they come
      for (index_t t = 0; t < rows; ++t)
        for (T& d : delta.view()[t]) d = std::abs(d) + 5;
  }

  selective_scan_input<T> input(index_t from, index_t to, index_t outs) const {
    selective_scan_input<T> in{.u = u.view().range(from, to),
                               .delta = delta.view().range(from, to),
                               .A = A,
                               .B = B.view().range(from, to),
                               .C = C.view().range(from, to),
                               .groups = groups,
                               .delta_softplus = softplus};
    if (bias.rows() > 0) in.delta_bias = bias.view()[0];
    if (D.rows() > 0) in.D = D.view()[0];
    if (z.rows() > 0) in.z = z.view().range(to - outs, to);
    return in;
  }
  op_run<T> with(kernel_of<selective_scan, T> run, placement at = {}) const {
    return [=, this](tensors<T>& state, index_t from, index_t to, index_t outs) {
      context ctx;
      matrix<T> y(outs, u.cols(), at);
      run(ctx, input(from, to, outs), state[0].view(), y.view());
      return y;
    };
  }
  // All tokens.
  op_result<T> run(kernel_of<selective_scan, T> kernel) const {
    return result_of<T>(with(kernel), {h}, rows(), rows());
  }
  index_t rows() const { return u.rows(); }
};

template <class T>
ssm_problem<double> widened(const ssm_problem<T>& p) {
  ssm_problem<double> w(0, 1, 1, 1);
  const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
  w.u = wide(p.u), w.delta = wide(p.delta), w.A = wide(p.A), w.B = wide(p.B), w.C = wide(p.C);
  w.bias = wide(p.bias), w.D = wide(p.D), w.z = wide(p.z), w.h = wide(p.h);
  w.groups = p.groups, w.softplus = p.softplus;
  return w;
}

template <class T>
tolerance allowed(index_t rows, index_t N) {
  return {.eps = epsilon<T>, .rows = rows, .width = N};
}

template <class T>
void agrees_with_reference(index_t rows, index_t E, index_t N, index_t G, parts p, placement at) {
  const ssm_problem<T> given(rows, E, N, G, p, at);
  const auto expected = widened(given).run(reference_of<selective_scan, double>);
  for (const auto& [arch, run] : kernels_of<selective_scan, T>()) {
    CAPTURE(arch, rows, E, N, G, p.bias, p.softplus, p.D, p.z, at.gap);
    CHECK(backend_fault(given.with(run, at), {given.h}, rows, rows, expected, allowed<T>(rows, N)) == "");
  }
}

// A ssm_problem with the tensors of one golden case.
template <class T>
ssm_problem<T> golden_ssm(const golden& file, const std::string& name) {
  ssm_problem<T> p(0, 1, 1, 1);
  const auto tensor = [&](const char* what) {
    return file.has(name, what) ? golden_matrix<T>(file, name, what) : matrix<T>(0, 0);
  };
  p.u = tensor("u"), p.delta = tensor("delta"), p.A = tensor("A"), p.B = tensor("B"), p.C = tensor("C");
  p.bias = tensor("delta_bias"), p.D = tensor("D"), p.z = tensor("z"), p.h = tensor("h0");
  p.groups = std::stoi(file.flag(name, "groups"));
  for (matrix<T>* m : {&p.B, &p.C})  // [T, groups, N] there
    *m = matrix<T>(mat_view<const T>(m->view().data(), p.u.rows(), p.groups * p.A.cols()), placement{});
  p.softplus = file.flag(name, "delta_softplus") == "1";
  return p;
}

template <class T>
void meets_golden_values(kernel_of<selective_scan, T> run, double bound) {
  const golden file("selective_scan");
  for (const std::string& name : file.cases()) {
    CAPTURE(name);
    const auto got = golden_ssm<T>(file, name).run(run);
    CHECK(golden_error<T>(got.outputs, golden_matrix<double>(file, name, "y")) < bound);
    CHECK(golden_error<T>(got.state[0], golden_matrix<double>(file, name, "h1")) < bound);
  }
}

}  // namespace

TEST_CASE("selective_scan meets the golden values") {
  meets_golden_values<double>(reference_of<selective_scan, double>, 1e-12);
  for (const auto& [arch, run] : kernels_of<selective_scan, double>())
    meets_golden_values<double>(run, 1e-12);
  for (const auto& [arch, run] : kernels_of<selective_scan, float>()) meets_golden_values<float>(run, 2e-5);
}

// Anchor N5 of the specification: one channel, computed by hand.
TEST_CASE("selective_scan, three tokens computed by hand") {
  const std::vector<double> u{1, -1, .5}, delta{0, 1, -1}, A{-1, -2}, B{1, .5, .2, -1, .3, .4},
      C{1, 1, .5, -.5, -1, 2}, bias{.1}, D{.5}, z{1, .5, -.5};
  std::vector<double> h(2), y(3);
  const selective_scan_input<double> in{.u = {u.data(), 3, 1},
                                        .delta = {delta.data(), 3, 1},
                                        .A = {A.data(), 1, 2},
                                        .B = {B.data(), 3, 2},
                                        .C = {C.data(), 3, 2},
                                        .delta_bias = bias,
                                        .D = D,
                                        .z = {z.data(), 3, 1}};
  context ctx;
  reference_of<selective_scan, double>(ctx, in, {h.data(), 1, 2}, {y.data(), 3, 1});
  const double by_hand[] = {1.1818256357, -0.3893655635, -0.3447524217, -0.0139225371, 0.7811918040};
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(y[i] - by_hand[i]) < 1e-10);
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(h[i] - by_hand[3 + i]) < 1e-10);
}

TEST_CASE("selective_scan agrees with its reference", "[L16][selective_scan]") {
  for (const index_t N : {1, 3, 16, 17, 35})
    for (const index_t E : {1, 7, 34}) {
      agrees_with_reference<float>(5, E, N, 1, {}, ugly);
      agrees_with_reference<double>(5, E, N, 1, {}, ugly);
    }
  for (const parts p : {parts{false, false, false, false}, parts{.bias = false}, parts{.softplus = false},
                        parts{.D = false}, parts{.z = false}})
    agrees_with_reference<float>(4, 19, 5, 1, p, {});
  agrees_with_reference<float>(3, 6, 5, 3, {}, ugly);
  agrees_with_reference<float>(3, 54, 16, 2, {}, ugly);   // groups that end inside a pack
  agrees_with_reference<float>(2, 300, 16, 5, {}, ugly);  // and inside a slice
  agrees_with_reference<float>(211, 17, 16, 1, {}, {});
}

TEST_CASE("selective_scan is bit-equal however tokens are split into calls") {
  const ssm_problem<float> p(11, 37, 19, 1, {}, ugly);
  for (const auto& [arch, run] : kernels_of<selective_scan, float>()) {
    CAPTURE(arch);
    CHECK(split_fault(p.with(run), {p.h}, 11) == "");
  }
}

TEST_CASE("selective_scan may write its outputs over the gate") {
  const ssm_problem<float> p(4, 21, 16, 1);
  for (const auto& [arch, run] : kernels_of<selective_scan, float>()) {
    CAPTURE(arch);
    matrix<float> h = p.h, y = p.z;
    auto in = p.input(0, 4, 4);
    in.z = y;
    context ctx;
    run(ctx, in, h.view(), y.view());
    CHECK(y == p.run(run).outputs);
  }
}

TEST_CASE("selective_scan: step sizes at the ends of the range", "[L20]") {
  ssm_problem<float> p(1, 18, 16, 1, {.bias = false});
  for (const auto& [arch, run] : kernels_of<selective_scan, float>()) {
    CAPTURE(arch);
    const auto with_delta = [&](float value) {
      std::fill(p.delta.view()[0].begin(), p.delta.view()[0].end(), value);
      return p.run(run).state[0];
    };
    CHECK(with_delta(-200) == p.h);  // dt = 0: nothing is forgotten, nothing enters
    const auto forgotten = with_delta(1e6f);
    for (index_t e = 0; e < 18; ++e)
      for (index_t n = 0; n < 16; ++n) {
        const float expected = 1e6f * p.u.view()[0][e] * p.B.view()[0][n];
        CHECK(std::abs(forgotten.view()[e][n] - expected) <= 1e-6f * std::abs(expected));
      }
  }
}

TEST_CASE("selective_scan: equal groups are no groups, and outputs are linear in u", "[L20]") {
  ssm_problem<double> one(6, 12, 5, 1);
  ssm_problem<double> three = one;
  three.groups = 3;
  three.B = matrix<double>(6, 15), three.C = matrix<double>(6, 15);
  for (index_t t = 0; t < 6; ++t)
    for (index_t i = 0; i < 15; ++i) {
      three.B.view()[t][i] = one.B.view()[t][i % 5];
      three.C.view()[t][i] = one.C.view()[t][i % 5];
    }
  ssm_problem<double> doubled = one;  // u and the start state twice as large
  for (matrix<double>* m : {&doubled.u, &doubled.h})
    for (index_t r = 0; r < m->rows(); ++r)
      for (double& x : m->view()[r]) x *= 2;
  for (const auto& run : {reference_of<selective_scan, double>, native_of<selective_scan, double>}) {
    const auto plain = one.run(run), grouped = three.run(run);
    auto larger = doubled.run(run).outputs;
    for (index_t t = 0; t < 6; ++t)
      for (double& x : larger.view()[t]) x /= 2;
    CHECK(difference<double, double>(grouped.outputs, plain.outputs, allowed<double>(6, 5)) == "");
    CHECK(difference<double, double>(grouped.state[0], plain.state[0], allowed<double>(6, 5)) == "");
    CHECK(difference<double, double>(larger, plain.outputs, allowed<double>(6, 5)) == "");
  }
}

TEST_CASE("selective_scan that does not select is diagonal_ssm, with one decay it is the recurrence",
          "[L20]") {
  constexpr index_t rows = 7, E = 4, N = 5;
  ssm_problem<double> p(rows, E, N, 1, {false, false, false, false});
  p.h = matrix<double>(E, N, {}, 0.0);
  const auto all_rows_like_first = [](matrix<double>& m) {
    for (index_t t = 1; t < m.rows(); ++t)
      std::copy(m.view()[0].begin(), m.view()[0].end(), m.view()[t].begin());
  };
  ssm_problem<double> constant = p;  // step sizes, B and C of the first token throughout
  for (auto* m : {&constant.delta, &constant.B, &constant.C}) all_rows_like_first(*m);
  matrix<double> lambda(2 * N, E, {}, 0.0), C = lambda, skip(1, E, {}, 0.0), x = lambda, y(rows, E);
  for (index_t e = 0; e < E; ++e)
    for (index_t n = 0; n < N; ++n) {
      const double dt = p.delta.view()[0][e];
      lambda.view()[2 * n][e] = std::exp(dt * p.A.view()[e][n]);
      C.view()[2 * n][e] = p.C.view()[0][n] * dt * p.B.view()[0][n];
    }
  context ctx;
  reference_of<diagonal_ssm, double>(ctx, {p.u.view(), lambda.view(), C.view(), skip.view()[0]}, x.view(),
                                     y.view());
  const auto run = reference_of<selective_scan, double>;
  CHECK(difference<double, double>(constant.run(run).outputs, y, allowed<double>(rows, N)) == "");

  ssm_problem<double> one =
      p;  // one step size for all channels, one A: the state is B u^T under a scalar decay
  matrix<double> S(N, E, {}, 0.0), alpha(rows, 1), v = p.u;
  for (index_t t = 0; t < rows; ++t) {
    const double dt = p.delta.view()[t][0];
    std::fill(one.delta.view()[t].begin(), one.delta.view()[t].end(), dt);
    alpha.view()[t][0] = std::exp(-0.1 * dt);
    for (double& u : v.view()[t]) u *= dt;
  }
  one.A = matrix<double>(E, N, {}, -0.1);
  reference_of<recurrence<rules::mamba2>, double>(ctx, S.view(), {.q = p.C, .k = p.B, .v = v, .alpha = alpha},
                                                  y.view());
  CHECK(difference<double, double>(one.run(run).outputs, y, allowed<double>(rows, N)) == "");
}

TEST_CASE("selective_scan: the state stays within the bound of a fading memory") {
  const ssm_problem<double> p(64, 9, 7, 1);
  const matrix<double> h = p.run(native_of<selective_scan, double>).state[0];
  for (index_t e = 0; e < 9; ++e)
    for (index_t n = 0; n < 7; ++n) {
      double bound = std::abs(p.h.view()[e][n]), drive = 0, slowest = 1;
      for (index_t t = 0; t < 64; ++t) {
        const double dt = std::log1p(std::exp(p.delta.view()[t][e] + p.bias.view()[0][e]));
        drive = std::max(drive, std::abs(dt * p.B.view()[t][n] * p.u.view()[t][e]));
        slowest = std::min(slowest, -std::expm1(dt * p.A.view()[e][n]));
      }
      bound = std::max(bound, drive / slowest);
      CHECK(std::abs(h.view()[e][n]) <= bound * (1 + 1e-12));
    }
}
