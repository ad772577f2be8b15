// SPDX-License-Identifier: Apache-2.0
// partial: answers of queries over part of the entries; the read side of the algebra whose write side is
// segment.
#pragma once
#include "../core/view.hpp"
#include "../math/simd.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mneme::inline MNEME_ABI {

// Of a query's scores s over a set of entries:
//   m = max_i s_i     l = sum_i e^(s_i - m)     o = sum_i e^(s_i - m) v_i
// Over no entries: (-infinity, 0, 0), which is neutral. Partials of the same queries over disjoint sets merge
// into that of the union; merging is associative up to rounding, so a fixed order gives fixed bits.
template <class T>
struct partial {
  row_view<T> highest, total;  // [G] m, l
  mat_view<T> sum;             // [G, d_value] o

  partial of_heads(index_t from, index_t to) const {
    return {highest.sub(from, to - from), total.sub(from, to - from), sum.range(from, to)};
  }
};

template <class T>
void clear(const partial<T>& p) noexcept {
  std::fill(p.highest.begin(), p.highest.end(), -std::numeric_limits<T>::infinity());
  std::fill(p.total.begin(), p.total.end(), T(0));
  for (index_t g = 0; g < p.sum.rows(); ++g) std::fill(p.sum[g].begin(), p.sum[g].end(), T(0));
}

// Into `a` what both say.
template <class T>
void merge(const partial<T>& a, const partial<T>& b) noexcept {
  constexpr T nothing = -std::numeric_limits<T>::infinity();
  for (index_t g = 0; g < a.sum.rows(); ++g) {
    if (b.highest[g] == nothing && b.total[g] == 0) continue;
    if (a.highest[g] == nothing && a.total[g] == 0) {
      a.highest[g] = b.highest[g];
      a.total[g] = b.total[g];
      std::copy_n(b.sum[g].data(), a.sum.cols(), a.sum[g].data());
      continue;
    }
    const T m = std::max(a.highest[g], b.highest[g]);
    const T keep = std::exp(a.highest[g] - m), add = std::exp(b.highest[g] - m);
    a.highest[g] = m;
    a.total[g] = simd::fma(add, b.total[g], keep * a.total[g]);
    for (index_t c = 0; c < a.sum.cols(); ++c) a.sum[g][c] = simd::fma(add, b.sum[g][c], keep * a.sum[g][c]);
  }
}

}  // namespace mneme::inline MNEME_ABI
