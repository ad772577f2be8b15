// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/diagonal_scan.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"

#include <complex>

using namespace mneme;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

// The three ops as one question: rows in (one or two matrices), tables, a state that is carried, rows out.
template <class T>
struct problem {
  index_t N;                        // states, or channels
  matrix<T> lambda, C, skip, A, U;  // tables; inputs of T rows
  matrix<T> x;                      // the state

  static problem random(index_t rows, index_t N, index_t states, placement at = {}) {
    const auto draw = [&](index_t r, index_t n, std::uint64_t seed, T scale) {
      matrix<T> m(random_rows<T>(r, n, 0, seed).view(), at);
      for (index_t i = 0; i < r; ++i)
        for (T& v : m.view()[i]) v *= scale;
      return m;
    };
    problem p{N,
              draw(states, N, 1, T(0.4)),
              draw(states, N, 2, T(1)),
              draw(1, N, 3, T(1)),
              draw(rows, N, 4, T(0.4)),
              draw(rows, N, 5, T(1)),
              draw(states, N, 6, T(1))};
    return p;
  }
  problem<double> widened() const {
    const auto wide = [](const matrix<T>& m) { return mneme_test::widened<T>(m.view()); };
    return {N, wide(lambda), wide(C), wide(skip), wide(A), wide(U), wide(x)};
  }
};

struct scan_of_states {  // a row of 2 N numbers is N complex states
  static constexpr index_t states = 1, even = 2;
  template <class Backend, class T>
  static void run(context& ctx, problem<T>& p, index_t from, index_t to, mat_view<T> Y) {
    kernel<diagonal_scan, Backend>::template run<T>(ctx, p.lambda.view()[0], p.U.view().range(from, to),
                                                    p.x.view()[0], Y);
  }
};
struct bank_of_channels {
  static constexpr index_t states = 6, even = 1;
  template <class Backend, class T>
  static void run(context& ctx, problem<T>& p, index_t from, index_t to, mat_view<T> Y) {
    const diagonal_ssm_input<T> in{p.U.view().range(from, to), p.lambda.view(), p.C.view(), p.skip.view()[0]};
    kernel<diagonal_ssm, Backend>::template run<T>(ctx, in, p.x.view(), Y);
  }
};
struct gated_states {
  static constexpr index_t states = 1, even = 1;
  template <class Backend, class T>
  static void run(context& ctx, problem<T>& p, index_t from, index_t to, mat_view<T> Y) {
    kernel<gated_scan, Backend>::template run<T>(ctx, p.A.view().range(from, to), p.U.view().range(from, to),
                                                 p.x.view()[0], Y);
  }
};

template <class Op, class Backend, class T>
matrix<T> run(problem<T>& p, index_t from, index_t to, index_t outs, placement at = {}) {
  context ctx;
  matrix<T> Y(outs, p.N, at);
  Op::template run<Backend>(ctx, p, from, to, Y.view());
  CHECK(Y.surrounding_untouched());
  CHECK(p.x.surrounding_untouched());
  return Y;
}

template <class Op, class Arch, class T>
void agrees_with_reference(index_t N, placement at) {
  constexpr index_t rows = 9;
  CAPTURE(N, sizeof(T));
  auto p = problem<T>::random(rows, N * Op::even, Op::states, at);
  auto oracle = p.widened();
  const auto y = run<Op, cpu<Arch>>(p, 0, rows, rows, at);
  const auto expected = run<Op, reference>(oracle, 0, rows, rows);
  const mneme_test::tolerance allowed{.eps = mneme_test::epsilon<T>, .rows = rows, .width = Op::states + 2};
  CHECK(mneme_test::difference<T, double>(y, expected, allowed) == "");
  CHECK(mneme_test::difference<T, double>(p.x, oracle.x, allowed) == "");
}
template <class Op, class Arch>
void agrees_with_reference() {
  for (const index_t N : {1, 3, 4, 5, 8, 15, 16, 17, 33, 65, 67}) {
    agrees_with_reference<Op, Arch, float>(N, {.gap = 3, .shift = 1});
    agrees_with_reference<Op, Arch, double>(N, {});
  }
}
template <class Op>
void splits_to_the_bit() {
  const auto start = problem<float>::random(8, 21 * Op::even, Op::states);
  auto whole = start;
  const auto y = run<Op, native>(whole, 0, 8, 8);
  for (index_t cut = 0; cut <= 8; ++cut) {
    auto split = start;
    run<Op, native>(split, 0, cut, 0);
    CHECK(mneme_test::bit_difference<float>(run<Op, native>(split, cut, 8, 8 - cut),
                                            y.view().range(cut, 8)) == "");
    CHECK(split.x == whole.x);
    auto some = start;
    CHECK(mneme_test::bit_difference<float>(run<Op, native>(some, 0, 8, cut), y.view().last(cut)) == "");
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("diagonal scans agree with their references", "", test_archs) {
  agrees_with_reference<scan_of_states, TestType>();
  agrees_with_reference<bank_of_channels, TestType>();
  agrees_with_reference<gated_states, TestType>();
}

TEST_CASE("diagonal scans are bit-equal however rows are split into calls") {
  splits_to_the_bit<scan_of_states>();
  splits_to_the_bit<bank_of_channels>();
  splits_to_the_bit<gated_states>();
}

TEST_CASE("diagonal_scan and diagonal_ssm are complex arithmetic") {
  using complex = std::complex<double>;
  auto p = problem<double>::random(6, 2, 1);
  const complex a(p.lambda.view()[0][0], p.lambda.view()[0][1]);
  complex x(p.x.view()[0][0], p.x.view()[0][1]);
  const auto Y = run<scan_of_states, reference>(p, 0, 6, 6);
  for (index_t t = 0; t < 6; ++t) {
    x = a * x + complex(p.U.view()[t][0], p.U.view()[t][1]);
    CHECK(std::abs(complex(Y.view()[t][0], Y.view()[t][1]) - x) < 1e-14);
  }
  auto q = problem<double>::random(6, 1, 2);
  const auto at = [](const matrix<double>& m) { return complex(m.view()[0][0], m.view()[1][0]); };
  complex z = at(q.x);
  const auto S = run<bank_of_channels, reference>(q, 0, 6, 6);
  for (index_t t = 0; t < 6; ++t) {
    const double u = q.U.view()[t][0];
    z = at(q.lambda) * z + u;
    CHECK(std::abs(S.view()[t][0] - (at(q.C) * z).real() - q.skip.view()[0][0] * u) < 1e-14);
  }
}

TEST_CASE("diagonal_scan: states on the unit circle keep their length; outputs may be the inputs' rows") {
  auto p = problem<double>::random(200, 34, 1);
  for (index_t n = 0; n < 17; ++n) {
    p.lambda.view()[0][n] = std::cos(static_cast<double>(n));
    p.lambda.view()[0][17 + n] = std::sin(static_cast<double>(n));
  }
  auto fed = p;
  for (index_t t = 0; t < 200; ++t) std::fill(p.U.view()[t].begin(), p.U.view()[t].end(), 0.0);
  const auto before = p.x;
  run<scan_of_states, native>(p, 0, 200, 0);
  for (index_t n = 0; n < 17; ++n)
    CHECK(std::abs(std::hypot(p.x.view()[0][n], p.x.view()[0][17 + n]) -
                   std::hypot(before.view()[0][n], before.view()[0][17 + n])) < 1e-13);

  auto again = fed;
  const auto Y = run<scan_of_states, native>(fed, 0, 200, 50);
  context ctx;
  scan_of_states::run<native, double>(ctx, again, 0, 200, again.U.view().last(50));
  CHECK(mneme_test::bit_difference<double>(again.U.view().last(50), Y) == "");
}
