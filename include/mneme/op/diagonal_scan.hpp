// SPDX-License-Identifier: Apache-2.0
// diagonal_scan, diagonal_ssm, gated_scan: recurrences whose states do not mix.
#pragma once
#include "../core/context.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Complex states with a fixed decay. Complex rows are split: the N real parts, then the N imaginary parts.
//   x_t = lambda o x_t-1 + u_t
//   lambda, x [2 N]      U [T, 2 N]      Y [R, 2 N] the last R states, 0 <= R <= T; may be the last rows of U
// 8 N flops per token.
struct diagonal_scan {};

template <>
struct kernel<diagonal_scan, reference> {
  template <class T>
  static void run(context&, row_view<const T> lambda, mat_view<const T> U, row_view<T> x,
                  mat_view<T> Y) noexcept {
    const index_t N = x.size() / 2, skip = U.rows() - Y.rows();
    for (index_t t = 0; t < U.rows(); ++t) {
      for (index_t n = 0; n < N; ++n) {
        const double lr = static_cast<double>(lambda[n]), li = static_cast<double>(lambda[N + n]),
                     xr = static_cast<double>(x[n]), xi = static_cast<double>(x[N + n]);
        x[n] = static_cast<T>(lr * xr - li * xi + static_cast<double>(U[t][n]));
        x[N + n] = static_cast<T>(lr * xi + li * xr + static_cast<double>(U[t][N + n]));
      }
      if (t >= skip) std::copy(x.begin(), x.end(), Y[t - skip].begin());
    }
  }
};

// A bank of D channels with N complex states each, one real input and one real output per channel.
//   x_t[n, d] = lambda[n, d] x_t-1[n, d] + u_t[d]      y_t[d] = Re sum_n C[n, d] x_t[n, d] + skip[d] u_t[d]
// Complex tables [2 N, D] hold the real parts of state n in row 2 n, the imaginary parts in row 2 n + 1.
// An input map belongs into C; so does the factor 2 where each state stands for a pair of conjugates.
// 10 N D flops per token.
struct diagonal_ssm {};

template <class T>
struct diagonal_ssm_input {
  mat_view<const T> u;          // [T, D]
  mat_view<const T> lambda, C;  // [2 N, D]
  row_view<const T> skip;       // [D]
};

// x [2 N, D] is carried from token to token; Y [R, D] receives the last R outputs, 0 <= R <= T.
template <>
struct kernel<diagonal_ssm, reference> {
  template <class T>
  static void run(context&, const diagonal_ssm_input<T>& in, mat_view<T> x, mat_view<T> Y) noexcept {
    const index_t skip = in.u.rows() - Y.rows();
    for (index_t t = 0; t < in.u.rows(); ++t)
      for (index_t d = 0; d < x.cols(); ++d) {
        const double u = static_cast<double>(in.u[t][d]);
        double y = static_cast<double>(in.skip[d]) * u;
        for (index_t n = 0; n < x.rows(); n += 2) {
          const auto at = [n, d](const auto& table, index_t part) {
            return static_cast<double>(table[n + part][d]);
          };
          const double lr = at(in.lambda, 0), li = at(in.lambda, 1), xr = at(x, 0), xi = at(x, 1);
          const double re = lr * xr - li * xi + u, im = lr * xi + li * xr;
          x[n][d] = static_cast<T>(re);
          x[n + 1][d] = static_cast<T>(im);
          y += at(in.C, 0) * re - at(in.C, 1) * im;
        }
        if (t >= skip) Y[t - skip][d] = static_cast<T>(y);
      }
  }
};

// Real states whose decay follows the token.
//   h_t = a_t o h_t-1 + b_t
//   A, B [T, N]      h [N]      Y [R, N] the last R states, 0 <= R <= T; may be the last rows of A or of B
struct gated_scan {};

template <>
struct kernel<gated_scan, reference> {
  template <class T>
  static void run(context&, mat_view<const T> A, mat_view<const T> B, row_view<T> h, mat_view<T> Y) noexcept {
    const index_t skip = A.rows() - Y.rows();
    for (index_t t = 0; t < A.rows(); ++t) {
      for (index_t n = 0; n < h.size(); ++n)
        h[n] = static_cast<T>(static_cast<double>(A[t][n]) * static_cast<double>(h[n]) +
                              static_cast<double>(B[t][n]));
      if (t >= skip) std::copy(h.begin(), h.end(), Y[t - skip].begin());
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
