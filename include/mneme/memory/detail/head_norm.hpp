// SPDX-License-Identifier: Apache-2.0
// Heads of rows, normalised: keys and queries of delta rules, outputs of gated recurrences.
#pragma once
#include "../../core/context.hpp"
#include "../../math/feature_map.hpp"
#include "../../op/gate.hpp"
#include "../../op/rms_norm.hpp"

namespace mneme::inline MNEME_ABI::detail {

// Every head of every row, scaled to length `scale`:  x <- x / sqrt(sum x^2 + 1e-6) scale.
template <class Arch, class T>
void normalise_heads(mat_view<T> rows, index_t head_dim, T scale = T(1)) noexcept {
  for (index_t r = 0; r < rows.rows(); ++r)
    for (index_t c = 0; c < rows.cols(); c += head_dim)
      l2_normalise<Arch>(rows[r].sub(c, head_dim), T(1e-6), scale);
}
// Every head of o, root-mean-square normalised with the weight [V] that all heads share; in scratch rows. The
// rows of o are packed.
template <class Backend, class T>
mat_view<T> head_norm(context::frame& scratch, const weight& w, double epsilon,
                      mat_view<const T> o) noexcept {
  const index_t V = w.cols(), rows = o.rows() * o.cols() / V;
  const auto y = scratch.template mat<T>(o.rows(), o.cols());
  kernel<rms_normalise, Backend>::template run<T>(w, epsilon, {o.data(), rows, V}, {y.data(), rows, V});
  return y;
}
// The same, times silu(gate).
template <class Backend, class T>
mat_view<T> gated_head_norm(context::frame& scratch, const weight& w, double epsilon, mat_view<const T> o,
                            mat_view<const T> gate) noexcept {
  const auto y = head_norm<Backend, T>(scratch, w, epsilon, o);
  kernel<silu_gate, Backend>::template run<T>(gate, y, y);
  return y;
}

}  // namespace mneme::inline MNEME_ABI::detail
