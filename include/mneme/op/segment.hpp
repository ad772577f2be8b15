// SPDX-License-Identifier: Apache-2.0
// segment: what a stretch of tokens does to the matrix memory, without the memory.
#pragma once
#include "../core/buffer.hpp"
#include "recurrence.hpp"

#include <vector>

namespace mneme::inline MNEME_ABI {

// The write side of the recurrence family is affine: a stretch of tokens acts as
//   S <- P (S * R) + H      P on key channels, R (of decay::value alone) on value channels, H what it wrote
// so that stretches form a monoid: `merge` is associative, `empty` is neutral, and applying a merge is
// applying one after the other. Parallel scans, split sequences and hosts that each read a part follow from
// it.
//   P [1] (no or scalar decay, add), [K] (key decay, add) or [K, K] (delta, dplr)   R [V] or empty   H [K, V]
// A merge costs 2 K^2 (K + V) flops where P is a matrix, else 2 K V. Exact for multipliers of 0.
// Source: Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024,
// section 3.
// Deviation: decay::value with update::dplr has no such form and does not compile.
template <rule W, class T>
class segment {
  static_assert(!(W.forget == decay::value && W.write == update::dplr),
                "value decay with a dplr update is not of the form P (S * R) + H");
  static constexpr bool dense = W.write != update::add;

 public:
  // The stretch of no tokens.
  segment(index_t K, index_t V)
      : K_(K),
        V_(V),
        P_(dense                    ? K * K
           : W.forget == decay::key ? K
                                    : 1,
           dense ? T(0) : T(1)),
        R_(W.forget == decay::value ? V : 0, T(1)),
        H_(K * V, T(0)) {
    if constexpr (dense)
      for (index_t i = 0; i < K; ++i) P_[i * K + i] = T(1);
  }
  // The stretch of these tokens; queries are not read.
  static segment of(const recurrence_rows<T>& in) {
    segment s(in.k.cols(), in.v.cols());
    for (index_t t = 0; t < in.k.rows(); ++t) s.append(in, t);
    return s;
  }

  friend bool operator==(const segment&, const segment&) = default;

  // `earlier`, then `later`.
  friend segment merge(const segment& earlier, const segment& later) {
    segment both = earlier;
    later.apply({both.H_.data(), both.K_, both.V_});
    if constexpr (dense)
      later.multiply({both.P_.data(), both.K_, both.K_});
    else
      for (index_t i = 0; i < both.P_.size(); ++i) both.P_[i] *= later.P_[i];
    for (index_t j = 0; j < both.R_.size(); ++j) both.R_[j] *= later.R_[j];
    return both;
  }

  // S [K, V] as it is after the stretch.
  void apply(mat_view<T> S) const {
    for (index_t i = 0; i < (R_.size() > 0 ? K_ : 0); ++i)
      for (index_t j = 0; j < V_; ++j) S[i][j] *= R_[j];
    multiply(S);
    for (index_t i = 0; i < K_; ++i)
      for (index_t j = 0; j < V_; ++j) S[i][j] += H_[i * V_ + j];
  }

 private:
  // X <- P X
  void multiply(mat_view<T> X) const {
    if constexpr (!dense) {
      for (index_t i = 0; i < K_; ++i)
        for (T& x : X[i]) x *= P_[P_.size() == 1 ? 0 : i];
    } else {
      std::vector<T> column(static_cast<std::size_t>(K_));
      for (index_t j = 0; j < X.cols(); ++j) {
        for (index_t i = 0; i < K_; ++i) column[static_cast<std::size_t>(i)] = X[i][j];
        for (index_t i = 0; i < K_; ++i) {
          T sum(0);
          for (index_t l = 0; l < K_; ++l) sum += P_[i * K_ + l] * column[static_cast<std::size_t>(l)];
          X[i][j] = sum;
        }
      }
    }
  }
  // One more token: its own transition applied to P and to H, which are states like any other.
  void append(const recurrence_rows<T>& in, index_t t) {
    const std::vector<T> nothing(static_cast<std::size_t>(K_), T(0));
    recurrence_rows<T> token{.q = {},
                             .k = in.k.range(t, t + 1),
                             .v = in.v.range(t, t + 1),
                             .alpha = in.alpha.rows() > 0 ? in.alpha.range(t, t + 1) : in.alpha,
                             .beta = in.beta.rows() > 0 ? in.beta.range(t, t + 1) : in.beta,
                             .a = in.a.rows() > 0 ? in.a.range(t, t + 1) : in.a,
                             .b = in.b.rows() > 0 ? in.b.range(t, t + 1) : in.b};
    context ctx(0);
    kernel<recurrence<W>, reference>::template run<T>(ctx, {H_.data(), K_, V_}, token, {});
    if constexpr (W.forget == decay::value)
      for (index_t j = 0; j < V_; ++j) R_[j] *= token.alpha[0][j];
    if constexpr (dense) {
      // The columns of P are states that no value is written to, and that value decay (held in R) does not
      // touch.
      constexpr rule left{W.forget == decay::value ? decay::none : W.forget, W.write, W.read};
      token.v = {nothing.data(), 1, K_};
      if constexpr (W.forget == decay::value) token.alpha = {};
      kernel<recurrence<left>, reference>::template run<T>(ctx, {P_.data(), K_, K_}, token, {});
    } else if constexpr (W.forget == decay::scalar || W.forget == decay::key) {
      for (index_t i = 0; i < P_.size(); ++i) P_[i] *= token.alpha[0][i];
    }
  }

  index_t K_, V_;
  buffer<T> P_, R_, H_;
};

}  // namespace mneme::inline MNEME_ABI
