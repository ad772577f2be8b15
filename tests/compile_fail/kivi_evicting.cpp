// SPDX-License-Identifier: Apache-2.0
// Entries coded in groups never move: no policy may evict one.
// expect: constraint
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/store/kivi.hpp>

#if defined(MNEME_CONTROL)
using policy = mneme::evict::full;
#else
using policy = mneme::evict::window;
#endif
using memory = mneme::kv_attention<float, policy, mneme::store::kivi<4>>;
