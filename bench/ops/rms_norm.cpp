// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/rms_norm.hpp>

#include "../case.hpp"

namespace {
using namespace bench;

class problem {
 public:
  struct shape {
    index_t D;
  };
  static double state_bytes(shape s) { return 4.0 * static_cast<double>(s.D); }
  static work cost(shape s, index_t rows) {
    const double R = static_cast<double>(rows), D = static_cast<double>(s.D);
    return {.fmas = 3 * R * D, .read = 4 * D, .rows = 8 * R * D};
  }
  problem(shape s, index_t rows, index_t states) : w_(states, s.D, 1), X_(rows, s.D, 2), Y_(rows, s.D, 3) {}
  template <class Backend>
  void run(context&, index_t state) {
    const mneme::weight w(w_[state].data(), {w_.cols(), 1, 1}, 1, mneme::dtype::f32, nullptr);
    mneme::kernel<mneme::rms_normalise, Backend>::template run<float>(w, 1e-5, X_.view(), Y_.view());
  }
  mat_view<const float> output() const { return Y_.view(); }

 private:
  matrix w_, X_, Y_;
};

const suite all([] { add<problem>("rms_norm/576", {576}, {.cold = false, .threads = 1}); });
}  // namespace
