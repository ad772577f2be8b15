// SPDX-License-Identifier: Apache-2.0
// States for the tests of state files.
#pragma once
#include "catch.hpp"
#include "files.hpp"

#include <mneme/io/state_file.hpp>

namespace io_test {

struct cache {
  mneme::buffer<float> keys;
  mneme::buffer<std::int8_t> codes;
  mneme::index_t size = 0;
  friend bool operator==(const cache&, const cache&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("keys", s.keys...);
    f("codes", s.codes...);
    f("size", s.size...);
  }
};
struct stream {
  mneme::buffer<double> h;
  mneme::many<cache> layers;
  float scale = 1;
  std::uint32_t steps = 0;
  friend bool operator==(const stream&, const stream&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("h", s.h...);
    f("layers", s.layers...);
    f("scale", s.scale...);
    f("steps", s.steps...);
  }
};

inline stream fresh() { return {mneme::buffer<double>(3), {{cache(), cache()}}, 1, 0}; }
inline stream used(int n = 0) {
  stream s = fresh();
  for (mneme::index_t i = 0; i < 3; ++i) s.h[i] = 0.5 * static_cast<double>(i + n);
  s.layers.items[1].keys.resize(5);
  for (mneme::index_t i = 0; i < 5; ++i) s.layers.items[1].keys[i] = static_cast<float>(i * i - n);
  s.layers.items[1].codes.resize(2);
  s.layers.items[1].codes[1] = -7;
  s.layers.items[1].size = 5;
  s.h[2] = std::numeric_limits<double>::quiet_NaN();  // bits, not values
  s.scale = 0.25f;
  s.steps = 77;
  return s;
}
inline const mneme::state_info about{"stream", "c0ffee", "feed", "a \"note\"\n\u00e9", -12, ""};

bytes saved(const auto& s, const mneme::state_info& info = about) {
  const auto file = mneme::save_state(s, info);
  REQUIRE(file);
  return *file;
}

}  // namespace io_test
