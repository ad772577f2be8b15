// SPDX-License-Identifier: Apache-2.0
#include "recurrence.hpp"

namespace {
const bench::suite all([] {
  using namespace mneme;
  bench::add<bench::recurrence<rules::gated_delta_net>>("gated_delta/16x128x128", {16, 16, 128, 128});
  bench::add<bench::recurrence<rules::gated_delta_net, bfloat16>>("gated_delta/16x128x128,bf16_state",
                                                                  {16, 16, 128, 128}, bench::rounded_state);
  bench::add<bench::recurrence<rules::rwkv7>>("rwkv7/32x64", {32, 32, 64, 64});
});
}  // namespace
