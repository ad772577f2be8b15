// SPDX-License-Identifier: Apache-2.0
// cross(m, past): answers queries from a past of m that is const and shared; cross-attention where m is a
// cache.
#pragma once
#include "../error.hpp"
#include "../scan.hpp"
#include "group.hpp"

#include <memory>

namespace mneme::inline MNEME_ABI {

// Queries against a past of m that all share; cross-attention where m is a cache.
//   y = read m(past, x)
// The past (a prompt, a document, an encoder's rows) is const and belongs to the memory, like its weights:
// streams, copies and threads share it. A handle in the state would be no value: loading a file into one
// stream would write what the others read. For a past of each stream's own, or another text: another cross(m,
// past);
// copies of m share their weights.
// Cost per token: a read of m. State: none.
template <Readable M>
class cross_of {
 public:
  using scalar = scalar_t<M>;
  using input = input_t<M>;
  using space = space_t<M>;
  using state = nothing;
  static constexpr bool row_stable = true;

  // Fails if an erased m cannot be read, or if the past is no state of m.
  cross_of(M m, state_t<M> past) : inner_(std::move(m)) {
    if (!is_readable(inner_)) fail(message("cross: the memory is not readable"));
    if (!mneme::valid(inner_, past)) fail(message("cross: the past is no state of the memory"));
    past_ = std::make_shared<const state_t<M>>(std::move(past));
  }

  index_t d_in() const { return inner_.d_in(); }
  index_t d_out() const { return inner_.d_out(); }
  const M& inner() const { return inner_; }
  const state_t<M>& past() const { return *past_; }
  state init(place_in<space> = {}) const { return {}; }

  void step(context_of<M>& ctx, state&, row_in<M> x, row_out<M> y) const noexcept {
    inner_.read(ctx, *past_, x, y);
  }
  void scan(context_of<M>& ctx, state&, mat_in<M> X, mat_out<M> Y) const {
    for (index_t t = 0; t < Y.rows(); ++t) inner_.read(ctx, *past_, X.last(Y.rows())[t], Y[t]);
  }

  decltype(auto) weights() { return weights_of(inner_); }
  decltype(auto) weights() const { return weights_of(inner_); }

 private:
  M inner_;
  std::shared_ptr<const state_t<M>> past_;
};

template <Readable M>
auto cross(M m, state_t<M> past) {  // deduced: clang then names the concept that is not met
  return cross_of<M>(std::move(m), std::move(past));
}

}  // namespace mneme::inline MNEME_ABI
