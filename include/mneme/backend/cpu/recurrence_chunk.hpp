// SPDX-License-Identifier: Apache-2.0
// recurrence_chunk on packs.
#pragma once
#include "../../math/vector.hpp"
#include "../../op/recurrence.hpp"
#include "../dispatch.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

// Within a chunk the state stays as it was; the writes of its tokens wait, each as key x value, and fade as
// the state would:
//   1. fade each waiting key token by token; multiply it with queries and recall keys of later tokens (N, M)
//   2. read the old state for all tokens at once: a matrix product, and that is the gain
//   3. token by token: recall and output from the old reading and the waiting writes
//   4. fade the state by the whole chunk and add all writes at once: a matrix product again
// 3 and 4 go by panels of value columns, 1 is shared by all panels. Decays are multiplied, never divided or
// taken logarithms of: exact for 0.
template <rule R, class Arch>
struct kernel<recurrence_chunk<R>, cpu<Arch>> {
  static constexpr index_t longest = 32;  // tokens of a chunk

  // S [K, V]; O [outputs, V] receives the outputs of the last tokens.
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    const index_t tokens = in.k.rows(), unread = tokens - O.rows();
    for (index_t from = 0; from < tokens; from += longest) {
      const index_t to = std::min(from + longest, tokens), read = std::clamp(unread, from, to);
      context::frame scratch(ctx);
      chunk<T> c(scratch, in, from, to, read);
      c.fade_keys();
      panels<T, 4>(ctx, c, S, O.range(read - unread, to - unread), 0);
    }
  }

 private:
  static constexpr bool delta = R.write == update::delta, dplr = R.write == update::dplr,
                        recalls = delta || dplr;
  static constexpr bool before = R.read == reads::before;

  // What all panels share. Row i belongs to token i of the chunk, output row r to token first_read + r.
  template <class T>
  struct chunk {
    chunk(context::frame& scratch, const recurrence_rows<T>& in, index_t from, index_t to, index_t read)
        : tokens(to - from), first_read(read - from), K(in.k.cols()) {
      const auto part = [&](mat_view<const T> X) { return X.rows() > 0 ? X.range(from, to) : X; };
      const index_t unread = in.k.rows() - in.q.rows();
      q = in.q.rows() > 0 ? in.q.range(read - unread, to - unread) : in.q;
      k = part(in.k), v = part(in.v), alpha = part(in.alpha), beta = part(in.beta), a = part(in.a),
      b = part(in.b);
      const auto mat = [&](bool used, index_t rows, index_t cols) {
        return scratch.template mat<T>(used ? rows : 0, cols);
      };
      keys = mat(true, tokens, K), erasers = mat(dplr, tokens, K);
      asking = mat(true, q.rows(), K), recalling = mat(recalls, tokens, K);
      N = mat(true, q.rows(), tokens), N_erase = mat(dplr, q.rows(), tokens);
      M = mat(recalls, tokens, tokens), M_erase = mat(dplr, tokens, tokens);
      fade = scratch.template row<T>(K);
    }

    void fade_keys() noexcept {
      std::fill(fade.begin(), fade.end(), T(1));
      for (index_t i = 0; i < tokens; ++i) {
        if (before && i >= first_read) ask(i, i);
        if (dplr) recall(i, a[i]);
        fade_by(i);
        if (delta) recall(i, k[i]);
        std::copy_n(k[i].data(), K, keys[i].data());
        if (dplr) std::copy_n(b[i].data(), K, erasers[i].data());
        if (!before && i >= first_read) ask(i, i + 1);
      }
    }

    index_t tokens, first_read, K;
    mat_view<const T> q, k, v, alpha, beta, a, b;
    mat_view<T> keys, erasers;      // waiting, faded to the end of the chunk
    mat_view<T> asking, recalling;  // queries and recall keys, faded to the start: what reads the old state
    mat_view<T> N, N_erase;         // [outputs, tokens]: query times waiting key
    mat_view<T> M, M_erase;         // [tokens, tokens]: recall key times waiting key
    row_view<T> fade;               // of a row of S since the start

   private:
    void ask(index_t i, index_t count) noexcept {
      const index_t r = i - first_read;
      multiply(q[r], asking[r]);
      products(q[r], keys, count, N[r]);
      if (dplr) products(q[r], erasers, count, N_erase[r]);
    }
    void recall(index_t i, row_view<const T> key) noexcept {
      multiply(key, recalling[i]);
      products(key, keys, i, M[i]);
      if (dplr) products(key, erasers, i, M_erase[i]);
    }
    void multiply(row_view<const T> x, row_view<T> y) const noexcept {
      for_packs<T, Arch>(K, [&]<class P>(index_t i) {
        simd::store(y.data() + i, simd::load<P>(x.data() + i) * simd::load<P>(fade.data() + i));
      });
    }
    void products(row_view<const T> x, mat_view<const T> waiting, index_t count,
                  row_view<T> y) const noexcept {
      for (index_t l = 0; l < count; ++l) y[l] = dot<Arch>(K, x.data(), waiting[l].data());
    }
    void fade_by(index_t i) noexcept {
      if constexpr (R.forget == decay::scalar || R.forget == decay::key) {
        const T* const by = alpha[i].data();
        const auto one = [&](T* row) {
          for_packs<T, Arch>(K, [&]<class P>(index_t c) {
            const P factor = R.forget == decay::key ? simd::load<P>(by + c) : P(*by);
            simd::store(row + c, simd::load<P>(row + c) * factor);
          });
        };
        one(fade.data());
        for (index_t l = 0; l < i; ++l) one(keys[l].data());
        if (dplr)
          for (index_t l = 0; l < i; ++l) one(erasers[l].data());
      }
    }
  };

  // Columns from j on: panels of N packs, the rest in panels of one, the last columns one by one.
  template <class T, int N>
  static void panels(context& ctx, const chunk<T>& c, mat_view<T> S, mat_view<T> O, index_t j) noexcept {
    using P = std::conditional_t<N == 0, T, simd::pack<T, Arch>>;
    constexpr index_t packs = std::max(N, 1), width = packs * simd::width<P>;
    for (; j + width <= S.cols(); j += width)
      panel<P, packs>(ctx, c, S.columns(j, width), O.columns(j, width), j);
    if constexpr (N > 0) panels<T, N / 4>(ctx, c, S, O, j);
  }

  template <class P, int N, class T>
  static void panel(context& ctx, const chunk<T>& c, mat_view<T> S, mat_view<T> O, index_t j) noexcept {
    context::frame scratch(ctx);
    const index_t width = S.cols();
    const auto recalled = scratch.template mat<T>(c.recalling.rows(), width),
               written = scratch.template mat<T>(c.tokens, width);
    const auto fade = scratch.template row<T>(R.forget == decay::value ? width : 0);
    std::fill(fade.begin(), fade.end(), T(1));
    read<P, N, T>(c.asking, S, O);
    read<P, N, T>(c.recalling, S, recalled);
    for (index_t i = 0; i < c.tokens; ++i) {
      const bool asked = i >= c.first_read;
      if (before && asked) output<P, N, T>(c, i, i, fade, written, recalled, O);
      if (dplr) recall<P, N, T>(c, i, fade, written, recalled);
      if constexpr (R.forget == decay::value) {
        fade_by<P, N, T>(c.alpha[i].data() + j, fade.data());
        for (index_t l = 0; l < i; ++l) fade_by<P, N, T>(c.alpha[i].data() + j, written[l].data());
        if (dplr)
          for (index_t l = 0; l < i; ++l) fade_by<P, N, T>(c.alpha[i].data() + j, recalled[l].data());
      }
      if (delta) recall<P, N, T>(c, i, fade, written, recalled);
      for (int n = 0; n < N; ++n) {
        const index_t at = n * simd::width<P>;
        P x = simd::load<P>(c.v[i].data() + j + at);
        if constexpr (delta) x = P(c.beta[i][0]) * (x - simd::load<P>(recalled[i].data() + at));
        simd::store(written[i].data() + at, x);
      }
      if (!before && asked) output<P, N, T>(c, i, i + 1, fade, written, recalled, O);
    }
    write<P, N, T>(c, fade, written, recalled, S);
  }

  // What token i recalls: of the old state (read already) and of the waiting writes before it.
  template <class P, int N, class T>
  static void recall(const chunk<T>& c, index_t i, row_view<const T> fade, mat_view<const T> written,
                     mat_view<T> recalled) noexcept {
    mix<P, N, T>(fade, c.M[i], written, dplr ? c.M_erase[i] : row_view<T>(), recalled, i, recalled[i].data());
  }
  template <class P, int N, class T>
  static void output(const chunk<T>& c, index_t i, index_t count, row_view<const T> fade,
                     mat_view<const T> written, mat_view<const T> recalled, mat_view<T> O) noexcept {
    const index_t r = i - c.first_read;
    mix<P, N, T>(fade, c.N[r], written, dplr ? c.N_erase[r] : row_view<T>(), recalled, count, O[r].data());
  }
  // y <- fade y + sum_l w[l] written[l] + e[l] recalled[l]
  template <class P, int N, class T>
  static void mix(row_view<const T> fade, row_view<const T> w, mat_view<const T> written, row_view<const T> e,
                  mat_view<const T> recalled, index_t count, T* y) noexcept {
    for (int n = 0; n < N; ++n) {
      const index_t at = n * simd::width<P>;
      P sum = simd::load<P>(y + at);
      if constexpr (R.forget == decay::value) sum = sum * simd::load<P>(fade.data() + at);
      for (index_t l = 0; l < count; ++l) {
        sum = simd::fma(P(w[l]), simd::load<P>(written[l].data() + at), sum);
        if constexpr (dplr) sum = simd::fma(P(e[l]), simd::load<P>(recalled[l].data() + at), sum);
      }
      simd::store(y + at, sum);
    }
  }
  template <class P, int N, class T>
  static void fade_by(const T* by, T* row) noexcept {
    for (int n = 0; n < N; ++n) {
      const index_t at = n * simd::width<P>;
      simd::store(row + at, simd::load<P>(row + at) * simd::load<P>(by + at));
    }
  }

  // Y = X S, four rows of X at a time: one pass over the panel serves four tokens.
  template <class P, int N, class T>
  static void read(mat_view<const T> X, mat_view<const T> S, mat_view<T> Y) noexcept {
    index_t r = 0;
    for (; r + 4 <= X.rows(); r += 4) read_rows<P, N, 4, T>(X, S, Y, r);
    for (; r < X.rows(); ++r) read_rows<P, N, 1, T>(X, S, Y, r);
  }
  template <class P, int N, int Rows, class T>
  static void read_rows(mat_view<const T> X, mat_view<const T> S, mat_view<T> Y, index_t r) noexcept {
    P sum[Rows][N];
    unrolled<Rows>([&](index_t t) { unrolled<N>([&](index_t n) { sum[t][n] = P(T(0)); }); });
    for (index_t i = 0; i < S.rows(); ++i)
      unrolled<N>([&](index_t n) {
        const P s = simd::load<P>(S[i].data() + n * simd::width<P>);
        unrolled<Rows>([&](index_t t) { sum[t][n] = simd::fma(P(X[r + t][i]), s, sum[t][n]); });
      });
    unrolled<Rows>([&](index_t t) {
      unrolled<N>([&](index_t n) { simd::store(Y[r + t].data() + n * simd::width<P>, sum[t][n]); });
    });
  }
  // S <- faded S + keys^T written + erasers^T recalled
  template <class P, int N, class T>
  static void write(const chunk<T>& c, row_view<const T> fade, mat_view<const T> written,
                    mat_view<const T> recalled, mat_view<T> S) noexcept {
    for (index_t i = 0; i < S.rows(); ++i) {
      P s[N];
      unrolled<N>([&](index_t n) {
        const index_t at = n * simd::width<P>;
        s[n] = simd::load<P>(S[i].data() + at);
        if constexpr (R.forget == decay::value)
          s[n] = s[n] * simd::load<P>(fade.data() + at);
        else if constexpr (R.forget != decay::none)
          s[n] = s[n] * P(c.fade[i]);
      });
      for (index_t l = 0; l < c.tokens; ++l)
        unrolled<N>([&](index_t n) {
          const index_t at = n * simd::width<P>;
          s[n] = simd::fma(P(c.keys[l][i]), simd::load<P>(written[l].data() + at), s[n]);
          if constexpr (dplr)
            s[n] = simd::fma(P(c.erasers[l][i]), simd::load<P>(recalled[l].data() + at), s[n]);
        });
      unrolled<N>([&](index_t n) { simd::store(S[i].data() + n * simd::width<P>, s[n]); });
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
