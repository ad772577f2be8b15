// SPDX-License-Identifier: Apache-2.0
// A model of two layers, fed whole and token by token.
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/layer/linear.hpp>

#include <cstdio>
#include <vector>

int main() {
  constexpr mneme::index_t T = 5, D = 12;
  const auto model =
      mneme::chain(mneme::residual(mneme::linear<float>({.d_in = D, .d_out = D, .bias = true})),
                   mneme::linear<float>({.d_in = D, .d_out = 3}));
  std::vector<float> x(T * D), whole(T * 3), stepped(T * 3);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;

  mneme::context ctx;
  auto s = model.init();
  mneme::scan(model, ctx, s, {x.data(), T, D}, {whole.data(), T, 3});
  auto again = model.init();
  for (mneme::index_t t = 0; t < T; ++t)
    mneme::step(model, ctx, again, {x.data() + t * D, D}, {stepped.data() + t * 3, 3});

  if (whole != stepped || !(s == again)) {
    std::puts("scan and step differ");
    return 1;
  }
  std::printf("mneme " MNEME_VERSION_STRING ": scan equals step\n");
}
