// SPDX-License-Identifier: Apache-2.0
// HiPPO: linear systems whose state holds the coefficients of the past on orthogonal polynomials.
#pragma once
#include "dense.hpp"

namespace mneme::inline MNEME_ABI {

// x' = A x + B u, or x_t = A x_t-1 + B u_t once discretised; A [N, N], B [N, 1].
// Source: Gu, Dao, Ermon, Rudra, Re, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
// theorems 1 and 2; Voelker, Kajic, Eliasmith, "Legendre Memory Units: Continuous-Time Representation in
// Recurrent Neural Networks", 2019, equations 1 and 2.
struct linear_system {
  dense_matrix A, B;
};

namespace detail {
template <class F, class G>
linear_system system_of(index_t N, F&& a, G&& b) {
  linear_system s{dense_matrix(N, N), dense_matrix(N, 1)};
  for (index_t n = 0; n < N; ++n) {
    s.B(n, 0) = b(n);
    for (index_t k = 0; k < N; ++k) s.A(n, k) = a(n, k);
  }
  return s;
}
inline double twice_plus_one(index_t n) { return static_cast<double>(2 * n + 1); }
inline double alternating(index_t n) { return n % 2 == 0 ? 1 : -1; }
}  // namespace detail

// Legendre polynomials on the whole past: c' = (A c + B f) / t, f(x t) = sum_n c_n sqrt(2n+1) P_n(2x - 1).
inline linear_system hippo_legs(index_t N) {
  return detail::system_of(
      N,
      [](index_t n, index_t k) {
        return n == k  ? -static_cast<double>(n + 1)
               : n > k ? -std::sqrt(detail::twice_plus_one(n) * detail::twice_plus_one(k))
                       : 0;
      },
      [](index_t n) { return std::sqrt(detail::twice_plus_one(n)); });
}
// Legendre polynomials on a window of length theta: c' = (A c + B f) / theta,
// f(t - theta (1 - x)) = sum_n c_n sqrt(2n+1) P_n(2x - 1). Discretise with step / theta.
inline linear_system hippo_legt(index_t N) {
  return detail::system_of(
      N,
      [](index_t n, index_t k) {
        return -std::sqrt(detail::twice_plus_one(n) * detail::twice_plus_one(k)) *
               (k <= n ? 1 : detail::alternating(k - n));
      },
      [](index_t n) { return std::sqrt(detail::twice_plus_one(n)); });
}
// The same window in the scaling of the Legendre memory unit: m_n = (-1)^n sqrt(2n+1) c_n,
// f(t - theta r) = sum_n m_n P_n(2r - 1).
inline linear_system hippo_lmu(index_t N) {
  return detail::system_of(
      N,
      [](index_t n, index_t k) {
        return detail::twice_plus_one(n) * (n < k ? -1 : -detail::alternating(n - k));
      },
      [](index_t n) { return detail::twice_plus_one(n) * detail::alternating(n); });
}

enum class discretisation : std::uint8_t {
  zoh,       // exact for an input that is constant during a step
  bilinear,  // the trapezoidal rule
  euler,     // forward: stable for short steps only
  backward,  // backward Euler
};

// zoh: A <- e^(hA), B <- A^-1 (e^(hA) - I) B;  others: A <- (I - a h A)^-1 (I + (1 - a) h A),
// B <- (I - a h A)^-1 h B with a = 0 (euler), 1/2 (bilinear), 1 (backward); h = step > 0.
// Step k of the time-varying LegS system, k = 1, 2, ...: step 1 / k, and log((k + 1) / k) with zoh.
inline linear_system discretised(const linear_system& s, double step, discretisation how) {
  const index_t N = s.A.rows;
  if (how == discretisation::zoh) {
    dense_matrix both(N + 1, N + 1);  // e^[[hA, hB], [0, 0]] holds the two: A may be singular
    for (index_t n = 0; n < N; ++n) {
      for (index_t k = 0; k < N; ++k) both(n, k) = step * s.A(n, k);
      both(n, N) = step * s.B(n, 0);
    }
    both = matrix_exponential(both);
    return detail::system_of(
        N, [&](index_t n, index_t k) { return both(n, k); }, [&](index_t n) { return both(n, N); });
  }
  const double a = how == discretisation::euler ? 0 : how == discretisation::bilinear ? 0.5 : 1;
  const dense_matrix left = dense_matrix::identity(N) + -a * step * s.A;
  const dense_matrix right = dense_matrix::identity(N) + (1 - a) * step * s.A;
  return {solve(left, right), solve(left, step * s.B)};
}

// One pair of eigenvalues -1/2 +- i frequency of the normal part of LegS, A + P P^T with P_n = sqrt(n + 1/2),
// and the magnitude of B along its eigenvector (whose phase is arbitrary).
struct legs_mode {
  double frequency, input;
};
// The N / 2 pairs, frequencies ascending. N even.
// Source: Gu, Goel, Re, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, section 3.
inline std::vector<legs_mode> legs_modes(index_t N) {
  // A + P P^T + I/2 is skew: K. The Hermitian matrix -iK, as a real one of twice the size, has each frequency
  // twice.
  dense_matrix H(2 * N, 2 * N);
  for (index_t n = 0; n < N; ++n)
    for (index_t k = 0; k < n; ++k) {
      const double half = std::sqrt(detail::twice_plus_one(n) * detail::twice_plus_one(k)) / 2;
      H(n, N + k) = H(N + k, n) = -half;
      H(k, N + n) = H(N + n, k) = half;
    }
  const symmetric_eigen e = eigen_of_symmetric(std::move(H));
  std::vector<legs_mode> modes;
  for (index_t i = N; i < 2 * N; i += 2) {  // the upper half is positive
    double energy = 0;
    for (const index_t v : {i, i + 1}) {
      double projection = 0;
      for (index_t n = 0; n < N; ++n) projection += std::sqrt(detail::twice_plus_one(n)) * e.vectors(n, v);
      energy += projection * projection;
    }
    const auto at = static_cast<std::size_t>(i);
    modes.push_back({(e.values[at] + e.values[at + 1]) / 2, std::sqrt(energy)});
  }
  return modes;
}

// Step k >= 1 of the time-varying LegS system in O(N), 0 <= a <= 1:
// (I - a A/k) c <- (I + (1 - a) A/k) c + f B/k. The first sample, k = 0, is c = (f, 0, 0, ...).
inline void legs_update(std::vector<double>& c, double f, index_t k, double a) {
  const double h = 1 / static_cast<double>(k);
  double before = 0, solved = 0;  // sums of R_j c_j over j < n: of the old and of the new coefficients
  double R = 0, grade = 0;
  for (double& e : c) {
    R = std::sqrt(2 * grade + 1), grade += 1;
    const double old = e, right = old + (1 - a) * h * (-R * before - grade * old) + h * R * f;
    e = (right - a * h * R * solved) / (1 + a * h * grade);
    before += R * old, solved += R * e;
  }
}

}  // namespace mneme::inline MNEME_ABI
