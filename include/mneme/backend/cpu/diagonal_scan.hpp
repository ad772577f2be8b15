// SPDX-License-Identifier: Apache-2.0
// diagonal_scan, diagonal_ssm and gated_scan on packs: of states, or of channels where their states are
// summed, so that no sum goes across lanes.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/diagonal_scan.hpp"
#include "../dispatch.hpp"

namespace mneme::inline MNEME_ABI {

template <class Arch>
struct kernel<diagonal_scan, cpu<Arch>> {
  template <class T>
  static void run(context&, row_view<const T> lambda, mat_view<const T> U, row_view<T> x,
                  mat_view<T> Y) noexcept {
    const index_t N = x.size() / 2, skip = U.rows() - Y.rows();
    const T *lr = lambda.data(), *li = lr + N;
    for (index_t t = 0; t < U.rows(); ++t) {
      const T *ur = U[t].data(), *ui = ur + N;
      T *const xr = x.data(), *const xi = xr + N, *const y = t < skip ? nullptr : Y[t - skip].data();
      for_packs<T, Arch>(N, [&]<class P>(index_t n) {
        const P a = simd::load<P>(lr + n), b = simd::load<P>(li + n), p = simd::load<P>(xr + n),
                q = simd::load<P>(xi + n);
        const P re = simd::fma(a, p, simd::fma(P(0) - b, q, simd::load<P>(ur + n)));
        const P im = simd::fma(a, q, simd::fma(b, p, simd::load<P>(ui + n)));
        simd::store(xr + n, re);
        simd::store(xi + n, im);
        if (!y) return;
        simd::store(y + n, re);
        simd::store(y + N + n, im);
      });
    }
  }
};

// Slices of channels go through all tokens. Some packs go through the states together: rows of the tables are
// far apart, and a pack alone would take too little from each.
template <class Arch>
struct kernel<diagonal_ssm, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const diagonal_ssm_input<T>& in, mat_view<T> x, mat_view<T> Y) noexcept {
    constexpr index_t slice = 64;
    ctx.parallel_for((x.cols() + slice - 1) / slice, [&](index_t i, context&) {
      const index_t from = i * slice, count = std::min(slice, x.cols() - from);
      const auto part = [&](auto table) { return table.columns(from, count); };
      tokens<T>({part(in.u), part(in.lambda), part(in.C), in.skip.sub(from, count)}, part(x), part(Y));
    });
  }

 private:
  template <class T>
  static void tokens(const diagonal_ssm_input<T>& in, mat_view<T> x, mat_view<T> Y) noexcept {
    using P = simd::pack<T, Arch>;
    constexpr index_t together = 4, width = simd::width<P>;
    const index_t rows = in.u.rows(), skip = rows - Y.rows();
    for (index_t t = 0; t < rows; ++t) {
      T* const y = t < skip ? nullptr : Y[t - skip].data();
      index_t d = 0;
      for (; d + together * width <= x.cols(); d += together * width) token<P, together>(in, t, x, d, y);
      for (; d + width <= x.cols(); d += width) token<P, 1>(in, t, x, d, y);
      for (; d < x.cols(); ++d) token<T, 1>(in, t, x, d, y);
    }
  }
  // One token of some packs of channels.
  template <class P, int packs, class T>
  static void token(const diagonal_ssm_input<T>& in, index_t t, mat_view<T> x, index_t first, T* y) noexcept {
    P u[packs], real[packs], imaginary[packs];  // the two parts of the output
    for (int i = 0; i < packs; ++i) {
      const index_t d = first + i * simd::width<P>;
      u[i] = simd::load<P>(in.u[t].data() + d);
      real[i] = simd::load<P>(in.skip.data() + d) * u[i];
      imaginary[i] = P(T(0));
    }
    for (index_t n = 0; n < x.rows(); n += 2)
      for (int i = 0; i < packs; ++i) {
        const index_t d = first + i * simd::width<P>;
        const P a = simd::load<P>(in.lambda[n].data() + d), b = simd::load<P>(in.lambda[n + 1].data() + d),
                p = simd::load<P>(x[n].data() + d), q = simd::load<P>(x[n + 1].data() + d);
        const P re = simd::fma(a, p, simd::fma(P(0) - b, q, u[i])), im = simd::fma(a, q, b * p);
        simd::store(x[n].data() + d, re);
        simd::store(x[n + 1].data() + d, im);
        real[i] = simd::fma(simd::load<P>(in.C[n].data() + d), re, real[i]);
        imaginary[i] = simd::fma(simd::load<P>(in.C[n + 1].data() + d), im, imaginary[i]);
      }
    for (int i = 0; y && i < packs; ++i) simd::store(y + first + i * simd::width<P>, real[i] - imaginary[i]);
  }
};

template <class Arch>
struct kernel<gated_scan, cpu<Arch>> {
  template <class T>
  static void run(context&, mat_view<const T> A, mat_view<const T> B, row_view<T> h, mat_view<T> Y) noexcept {
    const index_t skip = A.rows() - Y.rows();
    for (index_t t = 0; t < A.rows(); ++t) {
      const T *a = A[t].data(), *b = B[t].data();
      T* const y = t < skip ? nullptr : Y[t - skip].data();
      for_packs<T, Arch>(h.size(), [&]<class P>(index_t n) {
        const P now = simd::fma(simd::load<P>(a + n), simd::load<P>(h.data() + n), simd::load<P>(b + n));
        simd::store(h.data() + n, now);
        if (y) simd::store(y + n, now);
      });
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
