// SPDX-License-Identifier: Apache-2.0
// A row of constants is no output.
// expect: conver
#include <mneme/core/view.hpp>

#if defined(MNEME_CONTROL)
using element = float;
#else
using element = const float;
#endif
mneme::row_view<float> output(mneme::row_view<element> y) { return y; }
