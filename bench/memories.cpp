// SPDX-License-Identifier: Apache-2.0
// The caches, whose policy is a part of the type; all other memories are found by the build.
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "memories.hpp"

namespace {
const bench::suite all([] {
  namespace evict = mneme::evict;
  bench::add_memory<mneme::kv_attention<float, evict::sinks>>("memory.kv_attention<sinks>");
  bench::add_memory<mneme::kv_attention<float, evict::h2o>>("memory.kv_attention<h2o>");
  bench::add_memory<mneme::kv_attention<float, evict::tova>>("memory.kv_attention<tova>");
});
}  // namespace
