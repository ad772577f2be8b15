// SPDX-License-Identifier: Apache-2.0
// The sum normaliser of linear attentions: what S would hold for a value column of ones, kept beside it.
#pragma once
#include "../../math/vector.hpp"

namespace mneme::inline MNEME_ABI::detail {

// Token by token z <- alpha z + k per head; of the last tokens sums = z.q.
//   z [heads, K], in place; q [outputs, heads K]; k [T, heads K]; alpha [T, heads], or empty: 1;
//   sums [outputs, heads]
template <class Arch, class T>
void run_normaliser(T* z, mat_view<const T> q, mat_view<const T> k, mat_view<const T> alpha,
                    mat_view<T> sums) noexcept {
  const index_t heads = sums.cols(), K = k.cols() / heads, unread = k.rows() - sums.rows();
  for (index_t t = 0; t < k.rows(); ++t)
    for (index_t h = 0; h < heads; ++h) {
      T* const of_head = z + h * K;
      for_packs<T, Arch>(K, [&, kept = alpha.rows() > 0 ? alpha[t][h] : T(1),
                             key = k[t].data() + h * K]<class P>(index_t i) {
        simd::store(of_head + i, simd::fma(P(kept), simd::load<P>(of_head + i), simd::load<P>(key + i)));
      });
      if (t >= unread) sums[t - unread][h] = dot<Arch>(K, q[t - unread].data() + h * K, of_head);
    }
}

// The sums as they stand: z.q per head.        q [rows, heads K]; z [heads, K]; sums [rows, heads]
template <class Arch, class T>
void read_normaliser(const T* z, mat_view<const T> q, mat_view<T> sums) noexcept {
  const index_t heads = sums.cols(), K = q.cols() / heads;
  for (index_t r = 0; r < q.rows(); ++r)
    for (index_t h = 0; h < heads; ++h) sums[r][h] = dot<Arch>(K, q[r].data() + h * K, z + h * K);
}

// Every head of every row of o, divided by its divisor.       o [rows, heads V]; divisors [rows, heads]
template <class Arch, class T>
void divide_heads(mat_view<const T> divisors, mat_view<T> o) noexcept {
  const index_t heads = divisors.cols(), V = o.cols() / heads;
  for (index_t r = 0; r < o.rows(); ++r)
    for (index_t h = 0; h < heads; ++h) {
      T* const of_head = o[r].data() + h * V;
      map_row<Arch>(V, of_head, of_head, [divisor = divisors[r][h]]<class P>(P a) { return a / P(divisor); });
    }
}

}  // namespace mneme::inline MNEME_ABI::detail
