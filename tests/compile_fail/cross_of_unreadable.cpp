// SPDX-License-Identifier: Apache-2.0
// What cannot be read answers no queries.
// expect: Readable
#include <mneme/core/compose/cross.hpp>
#include <mneme/layer/linear.hpp>
#include <mneme/memory/kv_attention.hpp>

#if defined(MNEME_CONTROL)
using part = mneme::kv_attention<float>;
#else
using part = mneme::linear<float>;
#endif
auto make(const part& m) { return mneme::cross(m, m.init()); }
