// SPDX-License-Identifier: Apache-2.0
// What stands on containers of the standard library: files and messages. Built for the widest instruction
// set.
#include "units.hpp"

#include <mneme/io/state_file.hpp>

namespace {

struct pair_of_rows {
  mneme::buffer<float> a, b;
  static constexpr void fields(auto&& f, auto&... s) {
    f("a", s.a...);
    f("b", s.b...);
  }
};

}  // namespace

float files_avx512(float x) {
  const pair_of_rows s{mneme::buffer<float>(3, x), mneme::buffer<float>(5, x)};
  const auto file = mneme::save_state(s, {.kind = "pair"});
  pair_of_rows t;
  const auto info = mneme::load_state(std::span<const std::byte>(file.value()), t, {.kind = "pair"});
  if (!info) mneme::fail(mneme::message("saved with ", static_cast<double>(x), ": ", info.error().message()));
  return t.b[4];
}
