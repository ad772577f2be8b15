// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/causal_conv.hpp>

#include "../case.hpp"
#include "../plain.hpp"

namespace {
using namespace bench;

class problem {
 public:
  struct shape {
    index_t channels, taps;
  };
  static double state_bytes(shape s) { return 4.0 * static_cast<double>(s.channels * (2 * s.taps - 1)); }
  static work cost(shape s, index_t tokens) {
    const double T = static_cast<double>(tokens), C = static_cast<double>(s.channels),
                 K = static_cast<double>(s.taps);
    return {.fmas = T * C * K, .read = 4 * C * K, .updated = 4 * C * (K - 1), .rows = 8 * C * T};
  }
  problem(shape s, index_t tokens, index_t states)
      : shape_(s),
        past_(states, (s.taps - 1) * s.channels, 1),
        w_(states, s.taps * s.channels, 2),
        X_(tokens, s.channels, 3),
        Y_(tokens, s.channels, 4) {}
  template <class Backend>
  void run(context& ctx, index_t state) {
    const index_t C = shape_.channels, K = shape_.taps;
    mneme::kernel<mneme::causal_conv, Backend>::template run<float>(
        ctx, {.w = {w_[state].data(), K, C}}, X_.view(), {past_[state].data(), K - 1, C}, Y_.view());
  }
  void plain(index_t state) {
    plain::causal_conv(X_.rows(), shape_.channels, shape_.taps, &X_[0][0], w_[state].data(),
                       past_[state].data(), &Y_[0][0]);
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  shape shape_;
  matrix past_, w_, X_, Y_;
};

const suite all([] { add<problem>("causal_conv/1792x4", {1792, 4}); });
}  // namespace
