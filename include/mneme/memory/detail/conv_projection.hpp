// SPDX-License-Identifier: Apache-2.0
// conv_projection: what linear recurrences make their queries, keys and values with.
#pragma once
#include "../../layer/short_conv.hpp"
#include "../../math/feature_map.hpp"
#include "matrix_mixer.hpp"

namespace mneme::inline MNEME_ABI::detail {

// The state of members whose queries, keys and values go through convolutions.
template <class T, class Stored>
struct conv_state {
  buffer<T> q_conv, k_conv, v_conv;  // [past, channels]: last projected rows, oldest first; or empty
  buffer<Stored> S;                  // [heads, K, V]
  friend bool operator==(const conv_state&, const conv_state&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("q_conv", s.q_conv...);
    f("k_conv", s.k_conv...);
    f("v_conv", s.v_conv...);
    f("state", s.S...);
  }
  static conv_state empty(index_t past, const matrix_shape& s, place where) {
    const auto zeros = [where](index_t n) { return buffer<T>(n, T(0), where); };
    return {zeros(past * s.key_heads * s.K), zeros(past * s.key_heads * s.K), zeros(past * s.heads * s.V),
            buffer<Stored>(s.heads * s.K * s.V, Stored{}, where)};
  }
};

// silu(conv(W x)), or silu(W x) where there are no taps; or either without its silu.
template <class T, class Backend>
class conv_projection {
 public:
  conv_projection() = default;
  // taps [channels, 1, width]
  explicit conv_projection(const weight& taps, bool activates = true) : activates_(activates) {
    if (taps)
      conv_.emplace(short_conv_config{taps.dim(0), taps.dim(2), false, activates},
                    short_conv_params{taps, {}});
  }

  // Of all rows of X, or only of those whose outputs are asked for. past(state) gives the last inputs of the
  // convolution, oldest first.
  template <class S>
  mat_view<T> run(context& ctx, context::frame& scratch, const weight& W, std::span<const lane<S>> lanes,
                  buffer<T> S::* past, mat_view<const T> X, bool asked) const noexcept {
    const index_t before = !asked ? X.rows() : conv_ ? conv_->configuration().width - 1 : 0;
    const auto projected = project<Backend, T>(ctx, scratch, W, needed(scratch, lanes, X, before));
    if (!conv_) return activated(projected);
    index_t outs = 0, from = 0, to = 0;
    for (const auto& l : lanes) outs += asked ? l.outs : l.rows;
    const auto convolved = scratch.template mat<T>(outs, projected.cols());
    for (const auto& l : lanes) {
      const index_t rows = needed_rows(l, before), wanted = asked ? l.outs : l.rows;
      conv_->convolve(ctx, projected.range(from, from + rows), l.state->*past,
                      convolved.range(to, to + wanted));
      from += rows, to += wanted;
    }
    return convolved;
  }
  // What run would give the next row x, which the past does not keep.
  mat_view<T> preview(context& ctx, context::frame& scratch, const weight& W, const buffer<T>& past,
                      mat_view<const T> x) const noexcept {
    const auto projected = project<Backend, T>(ctx, scratch, W, x);
    if (!conv_) return activated(projected);
    const auto convolved = scratch.template mat<T>(1, projected.cols());
    conv_->preview(ctx, projected[0], past, 0, convolved[0]);
    return convolved;
  }

 private:
  mat_view<T> activated(mat_view<T> X) const noexcept {
    if (activates_) map_rows<typename arch_of<Backend>::type>(X, []<class P>(P a) { return silu(a); });
    return X;
  }

  std::optional<short_conv<T, Backend>> conv_;
  bool activates_ = true;
};

}  // namespace mneme::inline MNEME_ABI::detail
