// SPDX-License-Identifier: Apache-2.0
// Built once per instruction set. Kernels follow the flags of their unit, as everywhere.
#include "predictor.hpp"

#include <mneme/core/compose/residual.hpp>
#include <mneme/memory/gla.hpp>

namespace {

const auto& model() {
  static const auto one = mneme::residual(mneme::gla<float>({.d_model = width, .heads = 4}));
  return one;
}
struct stream {
  decltype(model().init()) state = model().init();
  mneme::context ctx;
};

void* create() { return new stream; }
void step(void* p, const float* x, float* y) {
  auto& s = *static_cast<stream*>(p);
  mneme::step(model(), s.ctx, s.state, {x, width}, {y, width});
}
void destroy(void* p) { delete static_cast<stream*>(p); }

}  // namespace

MNEME_DEFINE_TABLE(predictor, .create = create, .step = step, .destroy = destroy);
