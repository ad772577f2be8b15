// SPDX-License-Identifier: Apache-2.0
// The matrix recurrences as problems: one state is that of all heads of a layer.
#pragma once
#include <mneme/backend/cpu/recurrence.hpp>

#include "../case.hpp"
#include "../plain.hpp"

#include <algorithm>

namespace bench {

// Roundings of a state of bfloat16 fall to either side of a tie as the sums before them do.
inline constexpr plan rounded_state{.tolerance = 1e-2};

// Stored: the elements of the state, float or bfloat16.
template <mneme::rule R, class Stored = float>
class recurrence {
  static constexpr bool fades = R.forget != mneme::decay::none, by_key = R.forget == mneme::decay::key,
                        delta = R.write == mneme::update::delta, dplr = R.write == mneme::update::dplr;

 public:
  struct shape {
    index_t heads, key_heads, K, V;
  };
  static double state_bytes(shape s) { return sizeof(Stored) * static_cast<double>(s.heads * s.K * s.V); }
  static work cost(shape s, index_t tokens) {
    // A pass over the state each for recall, decay, every rank-one write and the reading.
    constexpr int passes = 2 + fades + delta + 2 * dplr;
    const double elements = static_cast<double>(s.heads * s.K * s.V), T = static_cast<double>(tokens);
    const double row =
        static_cast<double>(2 * s.key_heads * s.K + 2 * s.heads * s.V + fades * s.heads * alpha_width(s) +
                            delta * s.heads + 2 * dplr * s.heads * s.K);
    return {.fmas = T * passes * elements, .updated = state_bytes(s), .rows = T * 4 * row};
  }

  recurrence(shape s, index_t tokens, index_t states)
      : shape_(s),
        S_(states * s.heads * s.K * s.V),
        q_(tokens, s.key_heads * s.K, 2),
        k_(tokens, s.key_heads * s.K, 3),
        v_(tokens, s.heads * s.V, 4),
        alpha_(tokens, std::max<index_t>(1, s.heads * alpha_width(s)), 5, fades ? 0.9 : 1, 1),
        beta_(tokens, s.heads, 6, 0.1, 1),
        a_(tokens, dplr ? s.heads * s.K : 1, 7),
        b_(a_),
        O_(tokens, s.heads * s.V, 8) {
    const auto drawn = matrix(1, S_.size(), 1);
    std::transform(drawn.view()[0].begin(), drawn.view()[0].end(), S_.begin(),
                   [](float x) { return static_cast<Stored>(x); });
    k_.normalise(s.K);  // else S would grow without bound
    if constexpr (dplr) {
      a_.normalise(s.K);
      b_ = a_;
      for (index_t t = 0; t < tokens; ++t)
        for (float& x : b_[t]) x *= -0.5f;  // takes half of what a recalls away
    }
  }
  template <class Backend>
  void run(context& ctx, index_t state) {
    mneme::recurrence_rows<float> in{.q = q_.view(), .k = k_.view(), .v = v_.view()};
    if constexpr (fades) in.alpha = alpha_.view();
    if constexpr (delta) in.beta = beta_.view();
    if constexpr (dplr) in.a = a_.view(), in.b = b_.view();
    mneme::run_heads<R, Backend, float>(ctx, shape_.heads, shape_.key_heads, of(state), in, O_.view());
  }
  void plain(index_t state)
    requires std::same_as<Stored, float>
  {
    const plain::heads n{k_.rows(), shape_.heads, shape_.key_heads, shape_.K, shape_.V};
    float *S = of(state), *q = &q_[0][0], *k = &k_[0][0], *v = &v_[0][0], *alpha = &alpha_[0][0],
          *o = &O_[0][0];
    if constexpr (dplr)
      plain::rank_one(n, S, q, k, v, alpha, &a_[0][0], &b_[0][0], o);
    else if constexpr (delta)
      plain::gated_delta(n, S, q, k, v, alpha, &beta_[0][0], o);
    else
      plain::additive(n, S, q, k, v, alpha, by_key, R.read == mneme::reads::before, o);
  }
  mat_view<const float> output() const { return O_.view(); }

 private:
  // Without decay the plain loop multiplies with 1.
  static index_t alpha_width(shape s) { return by_key ? s.K : 1; }

  Stored* of(index_t state) { return S_.data() + state * shape_.heads * shape_.K * shape_.V; }

  shape shape_;
  mneme::buffer<Stored> S_;
  matrix q_, k_, v_, alpha_, beta_, a_, b_, O_;
};

}  // namespace bench
