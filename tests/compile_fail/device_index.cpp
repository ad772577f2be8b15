// SPDX-License-Identifier: Apache-2.0
// Device memory is never dereferenced on the host: its views have no operator[].
// expect: operator\[\]
#include <mneme/core/view.hpp>

#if defined(MNEME_CONTROL)
using space = mneme::host;
#else
using space = mneme::cuda;
#endif
float first(mneme::row_view<const float, space> x) { return x[0]; }
