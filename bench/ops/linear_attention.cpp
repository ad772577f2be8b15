// SPDX-License-Identifier: Apache-2.0
#include "recurrence.hpp"

namespace {
const bench::suite all([] {
  using namespace mneme;
  bench::add<bench::recurrence<rules::linear_attention>>("linear_attention/16x128x128", {16, 16, 128, 128});
  bench::add<bench::recurrence<rules::mamba2>>("mamba2/24x64x128",
                                               {24, 1, 128, 64});  // all heads share B and C
});
}  // namespace
