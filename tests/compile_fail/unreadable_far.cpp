// SPDX-License-Identifier: Apache-2.0
// A longer memory that cannot be read cannot be asked with the newest row.
// expect: constraint
#include <mneme/core/compose/windowed.hpp>
#include <mneme/layer/linear.hpp>

#if defined(MNEME_CONTROL)
constexpr auto asked = mneme::recall::leaving;
#else
constexpr auto asked = mneme::recall::newest;
#endif
auto make(const mneme::linear<float>& m) { return mneme::windowed<asked>({.window = 3}, m, m); }
