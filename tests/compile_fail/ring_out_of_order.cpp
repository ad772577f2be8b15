// SPDX-License-Identifier: Apache-2.0
// A ring is a layout for policies that let the oldest entry go.
// expect: constraint
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/store/ring.hpp>

#if defined(MNEME_CONTROL)
using policy = mneme::evict::window;
#else
using policy = mneme::evict::h2o;
#endif
using memory = mneme::kv_attention<float, policy, mneme::store::ring<mneme::store::f32>>;
