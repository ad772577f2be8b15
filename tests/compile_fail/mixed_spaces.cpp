// SPDX-License-Identifier: Apache-2.0
// A device row does not become a host row.
// expect: conver
#include <mneme/core/view.hpp>

#if defined(MNEME_CONTROL)
using space = mneme::host;
#else
using space = mneme::cuda;
#endif
mneme::row_view<const float> on_host(mneme::row_view<float, space> x) { return x; }
