// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/selective_scan.hpp>

#include "../case.hpp"
#include "../plain.hpp"

namespace {
using namespace bench;

class problem {
 public:
  struct shape {
    index_t E, N;
  };
  static double state_bytes(shape s) { return 8.0 * static_cast<double>(s.E * s.N); }  // h and A
  static work cost(shape s, index_t tokens) {
    const double T = static_cast<double>(tokens), E = static_cast<double>(s.E), N = static_cast<double>(s.N);
    return {.fmas = T * 4 * E * N,
            .exps = T * (E * N + E),
            .read = 4 * E * N,
            .updated = 4 * E * N,
            .rows = T * 4 * (3 * E + 2 * N)};
  }
  problem(shape s, index_t tokens, index_t states)
      : shape_(s),
        h_(states, s.E * s.N, 1),
        A_(states, s.E * s.N, 2, -4, -0.1),
        u_(tokens, s.E, 3),
        delta_(tokens, s.E, 4, -5, 0),
        B_(tokens, s.N, 5),
        C_(tokens, s.N, 6),
        D_(1, s.E, 7),
        Y_(tokens, s.E, 8) {}
  template <class Backend>
  void run(context& ctx, index_t state) {
    mneme::selective_scan_input<float> in{.u = u_.view(),
                                          .delta = delta_.view(),
                                          .A = {A_[state].data(), shape_.E, shape_.N},
                                          .B = B_.view(),
                                          .C = C_.view(),
                                          .D = D_[0]};
    mneme::kernel<mneme::selective_scan, Backend>::template run<float>(
        ctx, in, {h_[state].data(), shape_.E, shape_.N}, Y_.view());
  }
  void plain(index_t state) {
    plain::selective_scan(u_.rows(), shape_.E, shape_.N, &u_[0][0], &delta_[0][0], A_[state].data(),
                          &B_[0][0], &C_[0][0], &D_[0][0], h_[state].data(), &Y_[0][0]);
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  shape shape_;
  matrix h_, A_, u_, delta_, B_, C_, D_, Y_;
};

const suite all([] { add<problem>("selective_scan/1536x16", {1536, 16}); });
}  // namespace
