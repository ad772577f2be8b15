// SPDX-License-Identifier: Apache-2.0
// The recurrences of LSTM and GRU, which read their weights once per token: these are what cold cases rotate.
#include <mneme/backend/cpu/gru.hpp>
#include <mneme/backend/cpu/lstm.hpp>

#include "../case.hpp"
#include "../plain.hpp"

namespace {
using namespace bench;
using mneme::weight;

template <bool Lstm>
class problem {
  static constexpr index_t gates = Lstm ? 4 : 3;

 public:
  struct shape {
    index_t H;
  };
  static double state_bytes(shape s) { return 4.0 * static_cast<double>(gates * s.H * s.H); }
  static work cost(shape s, index_t tokens) {
    const double T = static_cast<double>(tokens), H = static_cast<double>(s.H);
    // Inputs pass by once while the weights stay: they do not decide the level.
    return {.fmas = T * gates * H * H,
            .exps = T * (Lstm ? 5 : 3) * H,
            .read = T * (state_bytes(s) + 4 * (gates + 1) * H),
            .updated = 4 * (Lstm ? 2 : 1) * H};
  }
  problem(shape s, index_t tokens, index_t states)
      : W_(states, gates * s.H * s.H, 1, -limit(s), limit(s)),
        b_(1, gates * s.H, 2, -limit(s), limit(s)),
        P_(tokens, gates * s.H, 3),
        h_(1, s.H, 4),
        c_(1, s.H, 5),
        z_(1, gates * s.H, 6),
        Y_(tokens, s.H, 7) {}
  template <class Backend>
  void run(context& ctx, index_t state) {
    const index_t H = h_.cols();
    const weight W(W_[state].data(), {gates * H, H, 1}, 2, mneme::dtype::f32, nullptr);
    if constexpr (Lstm)
      mneme::kernel<mneme::lstm_recurrence, Backend>::template run<float>(ctx, W, P_.view(), h_[0], c_[0],
                                                                          Y_.view());
    else
      mneme::kernel<mneme::gru_recurrence, Backend>::template run<float>(ctx, W, b_[0], P_.view(), h_[0],
                                                                         Y_.view());
  }
  void plain(index_t state) {
    if constexpr (Lstm)
      plain::lstm(P_.rows(), h_.cols(), W_[state].data(), &P_[0][0], &h_[0][0], &c_[0][0], &z_[0][0],
                  &Y_[0][0]);
    else
      plain::gru(P_.rows(), h_.cols(), W_[state].data(), &b_[0][0], &P_[0][0], &h_[0][0], &z_[0][0],
                 &Y_[0][0]);
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  static double limit(shape s) { return 1 / std::sqrt(static_cast<double>(s.H)); }

  matrix W_, b_, P_, h_, c_, z_, Y_;
};

const suite all([] {
  for (const index_t H : {16, 64, 256}) {
    add<problem<true>>("lstm/" + std::to_string(H), {H}, {.threads = 1});
    add<problem<false>>("gru/" + std::to_string(H), {H}, {.threads = 1});
  }
});
}  // namespace
