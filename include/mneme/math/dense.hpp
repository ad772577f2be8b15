// SPDX-License-Identifier: Apache-2.0
// Small dense matrices of double, for what is computed once, when a memory is made: products, linear systems,
// the exponential, eigenvectors. Plain loops, O(n^3); never on the path of a token.
#pragma once
#include "../core/buffer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace mneme::inline MNEME_ABI {

struct dense_matrix {
  index_t rows = 0, cols = 0;
  buffer<double> elements;  // row major

  dense_matrix() = default;
  dense_matrix(index_t r, index_t c) : rows(r), cols(c), elements(r * c) {}
  static dense_matrix identity(index_t n, double scale = 1) {
    dense_matrix I(n, n);
    for (index_t i = 0; i < n; ++i) I(i, i) = scale;
    return I;
  }
  double& operator()(index_t r, index_t c) { return elements[r * cols + c]; }
  double operator()(index_t r, index_t c) const { return elements[r * cols + c]; }

  friend dense_matrix operator*(const dense_matrix& a, const dense_matrix& b) {
    dense_matrix y(a.rows, b.cols);
    for (index_t r = 0; r < a.rows; ++r)
      for (index_t k = 0; k < a.cols; ++k)
        for (index_t c = 0; c < b.cols; ++c) y(r, c) += a(r, k) * b(k, c);
    return y;
  }
  friend dense_matrix operator*(double s, dense_matrix a) {
    for (double& e : a.elements) e *= s;
    return a;
  }
  friend dense_matrix operator+(dense_matrix a, const dense_matrix& b) {
    for (index_t i = 0; i < a.elements.size(); ++i) a.elements[i] += b.elements[i];
    return a;
  }
};

// X with A X = B, by elimination with row exchanges. Precondition: A is square and regular.
inline dense_matrix solve(dense_matrix A, dense_matrix B) {
  const index_t n = A.rows;
  for (index_t k = 0; k < n; ++k) {
    index_t pivot = k;
    for (index_t r = k + 1; r < n; ++r)
      if (std::abs(A(r, k)) > std::abs(A(pivot, k))) pivot = r;
    for (index_t c = 0; c < n; ++c) std::swap(A(k, c), A(pivot, c));
    for (index_t c = 0; c < B.cols; ++c) std::swap(B(k, c), B(pivot, c));
    for (index_t r = k + 1; r < n; ++r) {
      const double f = A(r, k) / A(k, k);
      for (index_t c = k; c < n; ++c) A(r, c) -= f * A(k, c);
      for (index_t c = 0; c < B.cols; ++c) B(r, c) -= f * B(k, c);
    }
  }
  for (index_t k = n - 1; k >= 0; --k)
    for (index_t c = 0; c < B.cols; ++c) {
      for (index_t j = k + 1; j < n; ++j) B(k, c) -= A(k, j) * B(j, c);
      B(k, c) /= A(k, k);
    }
  return B;
}

// e^A: the Taylor series of A / 2^s, whose norm is at most 1/2, squared s times.
inline dense_matrix matrix_exponential(const dense_matrix& A) {
  double norm = 0;
  for (index_t r = 0; r < A.rows; ++r) {
    double sum = 0;
    for (index_t c = 0; c < A.cols; ++c) sum += std::abs(A(r, c));
    norm = std::max(norm, sum);
  }
  const int squarings = norm > 0.5 ? static_cast<int>(std::ceil(std::log2(2 * norm))) : 0;
  const dense_matrix small = std::ldexp(1.0, -squarings) * A, one = dense_matrix::identity(A.rows);
  dense_matrix E = one;
  for (int k = 16; k >= 1; --k)
    E = one + 1.0 / k * (small * E);  // 2^-17 / 17! is below the rounding of double
  for (int i = 0; i < squarings; ++i) E = E * E;
  return E;
}

// Eigenvalues in ascending order; eigenvector i is column i.
struct symmetric_eigen {
  std::vector<double> values;
  dense_matrix vectors;
};

// Of a symmetric matrix: rotations that clear one pair of elements after the other (Jacobi's method).
inline symmetric_eigen eigen_of_symmetric(dense_matrix A) {
  const index_t n = A.rows;
  dense_matrix V = dense_matrix::identity(n);
  const auto off_diagonal = [&] {
    double sum = 0;
    for (index_t r = 0; r < n; ++r)
      for (index_t c = 0; c < r; ++c) sum += A(r, c) * A(r, c);
    return sum;
  };
  const double done = 1e-32 * off_diagonal();
  for (int sweep = 0; sweep < 60 && off_diagonal() > done; ++sweep)
    for (index_t p = 0; p < n; ++p)
      for (index_t q = p + 1; q < n; ++q) {
        if (A(p, q) == 0) continue;
        const double angle = (A(q, q) - A(p, p)) / (2 * A(p, q));
        const double t = std::copysign(1 / (std::abs(angle) + std::hypot(angle, 1.0)), angle);
        const double c = 1 / std::hypot(t, 1.0), s = t * c;
        const auto rotate = [c, s](double& x, double& y) {
          const double a = x;
          x = c * a - s * y;
          y = s * a + c * y;
        };
        for (index_t k = 0; k < n; ++k) rotate(A(k, p), A(k, q));
        for (index_t k = 0; k < n; ++k) rotate(A(p, k), A(q, k));
        for (index_t k = 0; k < n; ++k) rotate(V(k, p), V(k, q));
      }
  std::vector<index_t> order;
  for (index_t i = 0; i < n; ++i) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](index_t a, index_t b) { return A(a, a) < A(b, b); });
  symmetric_eigen result{{}, dense_matrix(n, n)};
  for (const index_t from : order) {
    const auto to = static_cast<index_t>(result.values.size());
    result.values.push_back(A(from, from));
    for (index_t k = 0; k < n; ++k) result.vectors(k, to) = V(k, from);
  }
  return result;
}

}  // namespace mneme::inline MNEME_ABI
