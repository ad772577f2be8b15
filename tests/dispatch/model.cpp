// SPDX-License-Identifier: Apache-2.0
// Built once per instruction set: products of weights, a recurrence, attention over a cache.
#include "model.hpp"

#include <mneme/core/compose/chain.hpp>
#include <mneme/evict/sinks.hpp>
#include <mneme/io/state_file.hpp>
#include <mneme/layer/linear.hpp>
#include <mneme/memory/gla.hpp>
#include <mneme/memory/kv_attention.hpp>

#include <cstring>
#include <vector>

// The trap: the linker keeps one of its copies, unless somebody keeps them apart.
template <class T>
[[gnu::noinline]] T untagged(T x) {
  std::vector<T> power(16, x);
  for (std::size_t i = 1; i < power.size(); ++i) power[i] = power[i - 1] * x + static_cast<T>(i);
  return power.back();
}

namespace {

using namespace mneme;

auto build() {
  constexpr index_t D = model_width;
  return chain(linear<float>({.d_in = D, .d_out = D}), gla<float>({.d_model = D, .heads = 2}),
               kv_attention<float, evict::sinks>({.d_model = D, .heads = 2, .capacity = 9}));
}
struct stream {
  decltype(build()) model = build();
  decltype(model.init()) state = model.init();
  context ctx;
};
stream& of(void* p) { return *static_cast<stream*>(p); }

const char* packs() {
  if constexpr (requires { simd::native::name(); })
    return simd::native::name();
  else
    return "one lane";
}
void scan_all(void* p, const float* x, index_t tokens, float* y) {
  scan(of(p).model, of(p).ctx, of(p).state, {x, tokens, model_width}, {y, tokens, model_width});
}
void step_once(void* p, const float* x, float* y) {
  step(of(p).model, of(p).ctx, of(p).state, {x, model_width}, {y, model_width});
}
std::size_t save(const void* p, std::byte* out, std::size_t room) {
  const auto bytes = save_state(static_cast<const stream*>(p)->state, {.kind = "dispatch"}).value();
  if (bytes.size() <= room) std::memcpy(out, bytes.data(), bytes.size());
  return bytes.size();
}
bool load(void* p, const std::byte* bytes, std::size_t size) {
  return load_state(std::span(bytes, size), of(p).state, {.kind = "dispatch"}).has_value();
}

}  // namespace

MNEME_DEFINE_TABLE(
    dispatch_model, .packs = packs, .create = []() -> void* { return new stream; },
    .destroy = [](void* p) { delete &of(p); }, .scan = scan_all, .step = step_once, .save = save,
    .load = load, .untagged = untagged<float>);
