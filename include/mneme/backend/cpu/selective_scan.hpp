// SPDX-License-Identifier: Apache-2.0
// selective_scan on packs.
#pragma once
#include "../../math/prefetch.hpp"
#include "../../math/vector.hpp"
#include "../../op/selective_scan.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Packs run over n within a channel, so that the state keeps its [E, N] layout for every width. A slice of
// channels whose states and A fit in the first-level cache goes through all tokens. What happens once per
// channel (softplus, gate) has loops of its own: in the loop over the states their chains would stall it.
template <class Arch>
struct kernel<selective_scan, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const selective_scan_input<T>& in, mat_view<T> h, mat_view<T> Y) noexcept {
    constexpr index_t states = 2048, whole = 32;  // per slice, of about so many states and of whole packs
    const index_t E = h.rows(), slice = std::max(whole, states / h.cols() / whole * whole);
    ctx.parallel_for((E + slice - 1) / slice, [&](index_t i, context& worker) {
      const index_t from = i * slice, count = std::min(slice, E - from);
      using usual = std::integral_constant<index_t, 16>;  // keeps the constants of exp in registers
      if (h.cols() == usual())
        channels(worker, usual(), in, h, Y, from, count);
      else
        channels(worker, h.cols(), in, h, Y, from, count);
    });
  }

 private:
  // All tokens of the channels [from, from + count).
  template <class Size, class T>
  static void channels(context& ctx, Size N, const selective_scan_input<T>& in, mat_view<T> h, mat_view<T> Y,
                       index_t from, index_t count) noexcept {
    context::frame scratch(ctx);
    const auto rows = scratch.mat<T>(3, count);
    T *const step = rows[0].data(), *const drive = rows[1].data(), *const read = rows[2].data();
    for (index_t t = 0, y = Y.rows() - in.u.rows(); t < in.u.rows(); ++t, ++y) {
      const T* u = in.u[t].data() + from;
      // Pieces of two rows lie too far apart for hardware prefetchers.
      if (constexpr index_t ahead = 2; t + ahead < in.u.rows()) {
        ask_for<2>(in.u[t + ahead].data() + from, count);
        ask_for<2>(in.delta[t + ahead].data() + from, count);
        if (y + ahead >= 0) {
          ask_for<2>(Y[y + ahead].data() + from, count);
          if (in.z.rows() > 0) ask_for<2>(in.z[y + ahead].data() + from, count);
        }
      }
      step_sizes(in, t, from, count, u, step, drive);
      update(N, in, t, h, from, count, step, drive, read);
      if (y >= 0) outputs(in, y, from, count, u, read, Y[y].data() + from);
    }
  }
  // step = dt, drive = dt u.
  template <class T>
  [[gnu::flatten]] static void step_sizes(const selective_scan_input<T>& in, index_t t, index_t from,
                                          index_t count, const T* u, T* step, T* drive) noexcept {
    const T* delta = in.delta[t].data() + from;
    const T* bias = in.delta_bias.size() > 0 ? in.delta_bias.data() + from : nullptr;
    for_packs<T, Arch>(count, [&]<class P>(index_t i) {
      P dt = simd::load<P>(delta + i);
      if (bias) dt = dt + simd::load<P>(bias + i);
      if (in.delta_softplus) dt = simd::select(dt > P(T(softplus_threshold)), dt, softplus(dt));
      simd::store(step + i, dt);
      simd::store(drive + i, dt * simd::load<P>(u + i));
    });
  }
  // One token of all channels: h, and read = C.h. As many channels as a pack has lanes are taken together, so
  // that one transposing reduction gathers their sums.
  template <class Size, class T>
  [[gnu::flatten]] static void update(Size N, const selective_scan_input<T>& in, index_t t, mat_view<T> h,
                                      index_t from, index_t count, const T* step, const T* drive,
                                      T* read) noexcept {
    using P = simd::pack<T, Arch>;
    constexpr index_t together = simd::width<P>;
    const index_t group = h.rows() / in.groups;
    for (index_t i = 0; i < count;) {
      const index_t g = (from + i) / group, end = std::min(count, (g + 1) * group - from);
      const T *B = in.B[t].data() + g * N, *C = in.C[t].data() + g * N;
      const auto one = [&](index_t c, P& sum, T& rest) {
        advance(N, in.A[from + c].data(), B, C, step[c], drive[c], h[from + c].data(), sum, rest);
      };
      T rests[together] = {};
      for (; i + together <= end; i += together) {
        const P sums = simd::sums_from<P>([&](index_t c) {
          P sum;
          one(i + c, sum, rests[c]);
          return sum;
        });
        simd::store(read + i, sums + simd::load<P>(rests));
      }
      for (; i < end; ++i) {
        P sum;
        one(i, sum, rests[0]);
        read[i] = simd::sum(sum) + rests[0];
      }
    }
  }
  // y = (read + D u) silu(z).
  template <class T>
  [[gnu::flatten]] static void outputs(const selective_scan_input<T>& in, index_t row, index_t from,
                                       index_t count, const T* u, const T* read, T* y) noexcept {
    const T* D = in.D.size() > 0 ? in.D.data() + from : nullptr;
    const T* z = in.z.rows() > 0 ? in.z[row].data() + from : nullptr;
    for_packs<T, Arch>(count, [&]<class P>(index_t i) {
      P sum = simd::load<P>(read + i);
      if (D) sum = simd::fma(simd::load<P>(D + i), simd::load<P>(u + i), sum);
      if (z) sum = sum * silu(simd::load<P>(z + i));
      simd::store(y + i, sum);
    });
  }

  // One token of one channel; sum and rest receive C.h, of whole packs and of the tail.
  template <class P, class Size, class T>
  static void advance(Size N, const T* A, const T* B, const T* C, T step, T drive, T* h, P& sum,
                      T& rest) noexcept {
    const auto state = [&]<class R>(R& read, index_t n) {
      const R decay = mneme::exp(R(step) * simd::load<R>(A + n));
      const R s = simd::fma(decay, simd::load<R>(h + n), R(drive) * simd::load<R>(B + n));
      simd::store(h + n, s);
      read = simd::fma(simd::load<R>(C + n), s, read);
    };
    P in_packs(T(0));
    T in_tail(0);
    const index_t whole = N / simd::width<P> * simd::width<P>;
    for (index_t n = 0; n < whole; n += simd::width<P>) state(in_packs, n);
    for (index_t n = whole; n < N; ++n) state(in_tail, n);
    sum = in_packs, rest = in_tail;
  }
};

}  // namespace mneme::inline MNEME_ABI
