// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/diagonal_scan.hpp>

#include "catch.hpp"
#include "op_laws.hpp"

#include <complex>

using namespace mneme;
using namespace mneme_test;

namespace {

// The three ops as one question: rows in (one or two matrices), tables, a state that is carried, rows out.
template <class T>
struct scan_problem {
  index_t N;                        // states, or channels
  matrix<T> lambda, C, skip, A, U;  // tables; inputs of T rows
  matrix<T> x;                      // the state

  static scan_problem random(index_t rows, index_t N, index_t states, placement at = {}) {
    const auto draw = [&](index_t r, index_t n, std::uint64_t seed, T scale) {
      matrix<T> m(random_rows<T>(r, n, 0, seed).view(), at);
      for (index_t i = 0; i < r; ++i)
        for (T& v : m.view()[i]) v *= scale;
      return m;
    };
    return {N,
            draw(states, N, 1, T(0.4)),
            draw(states, N, 2, T(1)),
            draw(1, N, 3, T(1)),
            draw(rows, N, 4, T(0.4)),
            draw(rows, N, 5, T(1)),
            draw(states, N, 6, T(1))};
  }
  scan_problem<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {N, wide(lambda), wide(C), wide(skip), wide(A), wide(U), wide(x)};
  }
  // One of the ops; `call` hands its operands to the kernel.
  template <class Op>
  op_run<T> with(kernel_of<typename Op::op, T> kernel, placement at = {}) const {
    return [=, this](tensors<T>& state, index_t from, index_t to, index_t outs) {
      context ctx;
      matrix<T> Y(outs, N, at);
      Op::call(kernel, ctx, *this, from, to, state[0].view(), Y.view());
      return Y;
    };
  }
};

struct scan_of_states {  // a row of 2 N numbers is N complex states
  using op = diagonal_scan;
  static constexpr index_t states = 1, even = 2;
  template <class T>
  static void call(auto kernel, context& ctx, const scan_problem<T>& p, index_t from, index_t to,
                   mat_view<T> x, mat_view<T> Y) {
    kernel(ctx, p.lambda.view()[0], p.U.view().range(from, to), x[0], Y);
  }
};
struct bank_of_channels {
  using op = diagonal_ssm;
  static constexpr index_t states = 6, even = 1;
  template <class T>
  static void call(auto kernel, context& ctx, const scan_problem<T>& p, index_t from, index_t to,
                   mat_view<T> x, mat_view<T> Y) {
    kernel(ctx, {p.U.view().range(from, to), p.lambda.view(), p.C.view(), p.skip.view()[0]}, x, Y);
  }
};
struct gated_states {
  using op = gated_scan;
  static constexpr index_t states = 1, even = 1;
  template <class T>
  static void call(auto kernel, context& ctx, const scan_problem<T>& p, index_t from, index_t to,
                   mat_view<T> x, mat_view<T> Y) {
    kernel(ctx, p.A.view().range(from, to), p.U.view().range(from, to), x[0], Y);
  }
};

template <class Op, class T>
void agrees_with_reference(placement at) {
  constexpr index_t rows = 9;
  const tolerance allowed{.eps = epsilon<T>, .rows = rows, .width = Op::states + 2};
  for (const index_t N : {1, 3, 4, 5, 8, 15, 16, 17, 33, 65, 67}) {
    const auto p = scan_problem<T>::random(rows, N * Op::even, Op::states, at);
    const auto oracle = p.widened();
    const auto expected = result_of<double>(oracle.template with<Op>(reference_of<typename Op::op, double>),
                                            {oracle.x}, rows, rows);
    for (const auto& [arch, run] : kernels_of<typename Op::op, T>()) {
      CAPTURE(N, sizeof(T), arch);
      CHECK(backend_fault(p.template with<Op>(run, at), {p.x}, rows, rows, expected, allowed) == "");
    }
  }
}
template <class Op>
void agrees_with_reference() {
  agrees_with_reference<Op, float>(ugly);
  agrees_with_reference<Op, double>({});
}
template <class Op>
void splits_to_the_bit() {
  const auto p = scan_problem<float>::random(8, 21 * Op::even, Op::states);
  for (const auto& [arch, run] : kernels_of<typename Op::op, float>()) {
    CAPTURE(arch);
    CHECK(split_fault(p.template with<Op>(run), {p.x}, 8) == "");
  }
}

}  // namespace

TEST_CASE("diagonal scans agree with their references", "[L16][diagonal_scan][diagonal_ssm][gated_scan]") {
  agrees_with_reference<scan_of_states>();
  agrees_with_reference<bank_of_channels>();
  agrees_with_reference<gated_states>();
}

TEST_CASE("diagonal scans are bit-equal however rows are split into calls") {
  splits_to_the_bit<scan_of_states>();
  splits_to_the_bit<bank_of_channels>();
  splits_to_the_bit<gated_states>();
}

TEST_CASE("diagonal_scan and diagonal_ssm are complex arithmetic") {
  using complex = std::complex<double>;
  const auto p = scan_problem<double>::random(6, 2, 1);
  const complex a(p.lambda.view()[0][0], p.lambda.view()[0][1]);
  complex x(p.x.view()[0][0], p.x.view()[0][1]);
  const auto Y = result_of<double>(p.with<scan_of_states>(reference_of<diagonal_scan, double>), {p.x}, 6, 6);
  for (index_t t = 0; t < 6; ++t) {
    x = a * x + complex(p.U.view()[t][0], p.U.view()[t][1]);
    CHECK(std::abs(complex(Y.outputs.view()[t][0], Y.outputs.view()[t][1]) - x) < 1e-14);
  }
  const auto q = scan_problem<double>::random(6, 1, 2);
  const auto at = [](const matrix<double>& m) { return complex(m.view()[0][0], m.view()[1][0]); };
  complex z = at(q.x);
  const auto S = result_of<double>(q.with<bank_of_channels>(reference_of<diagonal_ssm, double>), {q.x}, 6, 6);
  for (index_t t = 0; t < 6; ++t) {
    const double u = q.U.view()[t][0];
    z = at(q.lambda) * z + u;
    CHECK(std::abs(S.outputs.view()[t][0] - (at(q.C) * z).real() - q.skip.view()[0][0] * u) < 1e-14);
  }
}

TEST_CASE("diagonal_scan: states on the unit circle keep their length", "[L20]") {
  auto p = scan_problem<double>::random(200, 34, 1);
  for (index_t n = 0; n < 17; ++n) {
    p.lambda.view()[0][n] = std::cos(static_cast<double>(n));
    p.lambda.view()[0][17 + n] = std::sin(static_cast<double>(n));
  }
  for (index_t t = 0; t < 200; ++t) std::fill(p.U.view()[t].begin(), p.U.view()[t].end(), 0.0);
  const auto after =
      result_of<double>(p.with<scan_of_states>(native_of<diagonal_scan, double>), {p.x}, 200, 0).state[0];
  for (index_t n = 0; n < 17; ++n)
    CHECK(std::abs(std::hypot(after.view()[0][n], after.view()[0][17 + n]) -
                   std::hypot(p.x.view()[0][n], p.x.view()[0][17 + n])) < 1e-13);
}

TEST_CASE("gated_scan: a gate of one keeps the state to the bit, one of zero forgets it", "[L20]") {
  for (const auto& [arch, run] : kernels_of<gated_scan, float>())
    for (const float gate : {1.0f, 0.0f}) {
      CAPTURE(arch, gate);
      auto p = scan_problem<float>::random(5, 19, 1);
      for (index_t t = 0; t < 5; ++t)
        for (index_t n = 0; n < 19; ++n) p.A.view()[t][n] = gate, p.U.view()[t][n] *= 1 - gate;
      const auto got = result_of<float>(p.with<gated_states>(run), {p.x}, 5, 5);
      CHECK(same_bits(got.state[0].view()[0].data(), (gate == 1 ? p.x.view()[0] : p.U.view()[4]).data(), 19));
    }
}

TEST_CASE("diagonal_scan: outputs may be the inputs' rows") {
  auto p = scan_problem<double>::random(200, 34, 1);
  const auto Y =
      result_of<double>(p.with<scan_of_states>(native_of<diagonal_scan, double>), {p.x}, 200, 50).outputs;
  context ctx;
  native_of<diagonal_scan, double>(ctx, p.lambda.view()[0], p.U, p.x.view()[0], p.U.view().last(50));
  CHECK(same_bits(p.U.view()[150].data(), Y.view()[0].data(), 50 * 34));
}
