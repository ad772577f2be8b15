// SPDX-License-Identifier: Apache-2.0
#include "caches.hpp"

#include <mneme/evict/expected_attention.hpp>
#include <mneme/evict/h2o.hpp>
#include <mneme/evict/keydiff.hpp>
#include <mneme/evict/knorm.hpp>
#include <mneme/evict/lagkv.hpp>
#include <mneme/evict/lfu.hpp>
#include <mneme/evict/lru.hpp>
#include <mneme/evict/random.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/evict/snapkv.hpp>
#include <mneme/evict/tova.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/store/codec/bf16.hpp>
#include <mneme/store/codec/f16.hpp>
#include <mneme/store/codec/q4_0.hpp>
#include <mneme/store/codec/q8_0.hpp>
#include <mneme/store/kivi.hpp>
#include <mneme/store/paged.hpp>
#include <mneme/store/ring.hpp>

namespace mneme_stream {
namespace {

using namespace mneme;

template <class Policy, class Store>
any_memory<float> made(const kv_attention_config& c, const kv_attention_params& p) {
  return kv_attention<float, Policy, Store>(c, p);
}
template <class Policy, class Store>
constexpr cache_kind pair(const char* store) {
  return {Policy::name, store, made<Policy, Store>};
}
template <class Codec>
using flat = store::contiguous<Codec>;

constexpr cache_kind kinds[] = {
    pair<evict::full, flat<store::f32>>("f32"),
    pair<evict::window, flat<store::f32>>("f32"),
    pair<evict::sinks, flat<store::f32>>("f32"),
    pair<evict::h2o, flat<store::f32>>("f32"),
    pair<evict::tova, flat<store::f32>>("f32"),
    pair<evict::random, flat<store::f32>>("f32"),
    pair<evict::knorm, flat<store::f32>>("f32"),
    pair<evict::keydiff, flat<store::f32>>("f32"),
    pair<evict::snapkv, flat<store::f32>>("f32"),
    pair<evict::expected_attention, flat<store::f32>>("f32"),
    pair<evict::lagkv, flat<store::f32>>("f32"),
    pair<evict::lru, flat<store::f32>>("f32"),
    pair<evict::lfu, flat<store::f32>>("f32"),
    pair<evict::full, flat<store::q8_0>>("q8_0"),
    pair<evict::window, flat<store::q8_0>>("q8_0"),
    pair<evict::sinks, flat<store::q8_0>>("q8_0"),
    pair<evict::h2o, flat<store::q8_0>>("q8_0"),
    pair<evict::tova, flat<store::q8_0>>("q8_0"),
    pair<evict::snapkv, flat<store::q8_0>>("q8_0"),
    pair<evict::full, flat<store::f16>>("f16"),
    pair<evict::h2o, flat<store::f16>>("f16"),
    pair<evict::full, flat<store::bf16>>("bf16"),
    pair<evict::full, flat<store::q4_0>>("q4_0"),
    pair<evict::h2o, flat<store::q4_0>>("q4_0"),
    pair<evict::full, store::kivi<4>>("kivi4"),
    pair<evict::full, store::kivi<2>>("kivi2"),
    pair<evict::full, store::paged<store::f32>>("paged"),
    pair<evict::h2o, store::paged<store::f32>>("paged"),
    pair<evict::window, store::ring<store::f32>>("ring"),
    pair<evict::sinks, store::ring<store::f32>>("ring"),
};

}  // namespace

std::span<const cache_kind> cache_kinds() { return kinds; }

}  // namespace mneme_stream
