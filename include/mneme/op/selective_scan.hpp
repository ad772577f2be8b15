// SPDX-License-Identifier: Apache-2.0
// selective_scan: the diagonal recurrence of Mamba-1; its step size, input and output maps follow the token.
#pragma once
#include "../core/context.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// h_t[e, n] = exp(dt_t[e] A[e, n]) h_t-1[e, n] + dt_t[e] B_t[n] u_t[e]
// y_t[e]    = (sum_n C_t[n] h_t[e, n] + D[e] u_t[e]) silu(z_t[e])
// dt        = softplus(delta + delta_bias), or delta + delta_bias
// Channel e reads group floor(e groups / E) of B and C. 6 E N flops and E N exps per token.
// Source: Gu, Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, algorithm 2; as
// in the public code, B enters by Euler's rule (dt B) and softplus is the identity above 20.
struct selective_scan {};

template <class T>
struct selective_scan_input {
  mat_view<const T> u, delta;         // [T, E]
  mat_view<const T> A;                // [E, N]; negative, so that the past fades
  mat_view<const T> B, C;             // [T, groups N]
  index_t groups = 1;                 // divides E
  row_view<const T> delta_bias = {};  // [E], or empty: 0
  bool delta_softplus = true;
  row_view<const T> D = {};  // [E], or empty: 0
  mat_view<const T> z = {};  // [rows of Y, E], or empty: no gate
};

inline constexpr int softplus_threshold = 20;

// h [E, N] is carried from token to token; Y [<= T, E] receives the last Y.rows() outputs and may be z.
// A token with dt = 0 leaves h unchanged; where the decay underflows, the past is forgotten.
template <>
struct kernel<selective_scan, reference> {
  template <class T>
  static void run(context&, const selective_scan_input<T>& in, mat_view<T> h, mat_view<T> Y) noexcept {
    const index_t E = h.rows(), N = h.cols(), skip = in.u.rows() - Y.rows();
    for (index_t t = 0; t < in.u.rows(); ++t)
      for (index_t e = 0; e < E; ++e) {
        const index_t first = e / (E / in.groups) * N;
        const double u = static_cast<double>(in.u[t][e]), dt = step_size(in, t, e);
        double y = in.D.size() > 0 ? static_cast<double>(in.D[e]) * u : 0;
        for (index_t n = 0; n < N; ++n) {
          const double decay = std::exp(dt * static_cast<double>(in.A[e][n]));
          const double input = dt * static_cast<double>(in.B[t][first + n]) * u;
          const double s = decay * static_cast<double>(h[e][n]) + input;
          h[e][n] = static_cast<T>(s);
          y += static_cast<double>(in.C[t][first + n]) * s;
        }
        if (t < skip) continue;
        if (in.z.rows() > 0) {
          const auto z = static_cast<double>(in.z[t - skip][e]);
          y *= z / (1 + std::exp(-z));
        }
        Y[t - skip][e] = static_cast<T>(y);
      }
  }

 private:
  template <class T>
  static double step_size(const selective_scan_input<T>& in, index_t t, index_t e) {
    double x = static_cast<double>(in.delta[t][e]);
    if (in.delta_bias.size() > 0) x += static_cast<double>(in.delta_bias[e]);
    return in.delta_softplus && !(x > softplus_threshold) ? std::log1p(std::exp(x)) : x;
  }
};

}  // namespace mneme::inline MNEME_ABI
