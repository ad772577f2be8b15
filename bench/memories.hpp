// SPDX-License-Identifier: Apache-2.0
// Whole memories: every sample of each (what a call costs beside its arithmetic), and one of a realistic
// width. The build generates a call of add_memory for every header of memory/ and layer/.
#pragma once
#include <mneme/core/scan.hpp>

#include "case.hpp"

namespace bench {

// What a layer of a small model would be.
template <class C>
C realistic(C c = {}) {
  constexpr index_t width = 512;
  if constexpr (requires { c.d_model; }) c.d_model = width;
  if constexpr (requires { c.channels; }) c.channels = width;
  if constexpr (requires { c.d_in; }) c.d_in = width;
  if constexpr (requires { c.d_out; }) c.d_out = width;
  if constexpr (requires { c.d_hidden; }) c.d_hidden = width;
  if constexpr (requires { c.heads; }) c.heads = 8;
  if constexpr (requires { c.capacity; }) c.capacity = 1024;
  if constexpr (requires { c.vocabulary; }) c.vocabulary = 1000;
  if constexpr (requires { c.order; }) c.order = 256, c.theta = 1000;
  return c;
}

// An instance and where its benchmarks start. A cache is full by then: it evicts with every token.
template <class M>
struct subject {
  explicit subject(const typename M::config& c) : memory(c, 1), start(memory.init()) {
    if constexpr (mneme::Evicting<M>) {
      const matrix x(1, memory.d_in(), 1);
      matrix y(1, memory.d_out(), 2);
      while (std::ssize(memory.live(start, 0)) < memory.capacity())
        mneme::step(memory, with_threads(1), start, x.view()[0], y[0]);
    }
  }
  M memory;
  mneme::state_t<M> start;
};

template <class M>
class memory_problem {
 public:
  memory_problem(std::shared_ptr<const subject<M>> s, index_t tokens)
      : subject_(std::move(s)), state_(subject_->start), Y_(tokens, subject_->memory.d_out(), 1) {
    const matrix drawn(tokens, subject_->memory.d_in(), 2);
    for (const float x : row_view<const float>(drawn.view().data(), tokens * drawn.cols()))
      X_.push_back(input(x));
  }
  void run(context& ctx) {
    const M& m = subject_->memory;
    const mneme::mat_in<M> X(X_.data(), Y_.rows(), m.d_in());
    if (Y_.rows() == 1)
      mneme::step(m, ctx, state_, X[0], Y_[0]);
    else
      mneme::scan(m, ctx, state_, X, Y_.view());
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  using input_t = mneme::input_t<M>;
  static input_t input(float x) {
    if constexpr (std::is_same_v<input_t, float>)
      return x;
    else
      return static_cast<input_t>((x + 1) * 500);  // a token
  }

  std::shared_ptr<const subject<M>> subject_;
  mneme::state_t<M> state_;
  std::vector<input_t> X_;
  matrix Y_;
};

template <class M>
void add_config(std::string name, const typename M::config& config, plan modes) {
  const auto built = std::make_shared<std::shared_ptr<const subject<M>>>();  // when it is first asked for
  add(task{
      std::move(name),
      modes,
      0,
      [config, built](index_t tokens, index_t) -> std::shared_ptr<void> {
        if (!*built) *built = std::make_shared<const subject<M>>(config);
        return std::make_shared<memory_problem<M>>(*built, tokens);
      },
      [](void* p) { return static_cast<const memory_problem<M>*>(p)->output(); },
      [](index_t) { return work{}; },  // no floor: the ops have one
      {{"kernel", [](void* p, context& ctx, index_t) { static_cast<memory_problem<M>*>(p)->run(ctx); }}}});
}
template <class M>
void add_memory(const std::string& name) {
  int number = 0;
  for (const auto& c : M::samples())
    add_config<M>(name + "/sample" + std::to_string(number++), c,
                  {.cold = false, .prefill = 0, .threads = 1});
  add_config<M>(name + "/width512", realistic<typename M::config>(), {.cold = false});
}

}  // namespace bench
