// SPDX-License-Identifier: Apache-2.0
// What the time mixings of RWKV share beside the token shift: their state, the bonus, tables.
#pragma once
#include "../../math/decode.hpp"
#include "group_norm.hpp"
#include "matrix_mixer.hpp"
#include "token_shift.hpp"

namespace mneme::inline MNEME_ABI::detail {

template <class T, class Stored>
struct time_mixing_state {
  buffer<T> shift;   // [D] the last input
  buffer<Stored> S;  // [H, N, N]
  friend bool operator==(const time_mixing_state&, const time_mixing_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("shift", s.shift...);
    f("state", s.S...);
  }
};

// W^T as a table of T: checkpoints keep low-rank factors as [in, out], projections read [out, in].
template <class T>
weight turned(const weight& w) {
  return transposed<T>(decoded<T>(w));
}
// A row of n starts f(i / (n - 1)).
template <class F>
start along(index_t n, F&& f) {
  return [n, f](random_stream&, index_t i) {
    return f(static_cast<double>(i) / static_cast<double>(std::max<index_t>(n - 1, 1)));
  };
}

// What the current token says about itself beside the state:  o += (sum_i r_i u_i k_i) v, per head.
// r, k, v, o [rows, heads N]; u [heads, N], a table of T.
template <class Arch, class T>
void add_bonus(index_t heads, const weight& u, mat_view<const T> R, mat_view<const T> K, mat_view<const T> V,
               mat_view<T> O) noexcept {
  const index_t N = R.cols() / heads, width = V.cols() / heads;
  for (index_t t = 0; t < O.rows(); ++t)
    for (index_t h = 0; h < heads; ++h) {
      const T *r = R[t].data() + h * N, *k = K[t].data() + h * N, *of_head = data<T>(u) + h * N;
      const T bonus = fold<Arch, T>(N, [&]<class P>(index_t i, P sum) {
        return simd::fma(simd::load<P>(r + i) * simd::load<P>(of_head + i), simd::load<P>(k + i), sum);
      });
      axpy<Arch>(width, bonus, V[t].data() + h * width, O[t].data() + h * width);
    }
}

}  // namespace mneme::inline MNEME_ABI::detail
