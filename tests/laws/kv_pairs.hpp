// SPDX-License-Identifier: Apache-2.0
// register_kv_pairs: a policy's cache over one store against the same cache over contiguous slots, float only
// and without projections, so that every pair of policy, layout and codec can be had cheaply.
#pragma once
#include <mneme/memory/detail/kv_cache.hpp>
#include <mneme/store/codec/f32.hpp>

#include "matrix.hpp"

#include <string>
#include <vector>

namespace mneme_test {

struct kv_pair {
  std::string name;
  std::string (*difference)();  // empty: none
};
inline std::vector<kv_pair>& kv_pairs() {
  static std::vector<kv_pair> all;
  return all;
}

// A cache fed with random tokens and random attention. What it holds: positions and rows of every list.
template <class Policy, class Store>
class fed_cache {
 public:
  static constexpr index_t lists = 2, heads = 4, d_key = 6, d_value = 5;

  fed_cache(index_t capacity, mneme::evict::trigger when)
      : turns_(d_key, 10000, mneme::rope_pairs::half_split),
        cache_({lists, d_key, d_value}, {capacity, heads, d_key, when}),
        state_(cache_.init({})) {}

  void feed(index_t token) {
    const auto k = numbers(token, 0, lists * d_key), v = numbers(token, 1, lists * d_value);
    auto q = numbers(token, 2, heads * d_key);
    cache_.append(state_, k.view().data(), v.view().data());
    cache_.template observe<mneme::evict::queries::plain>(state_, q.view()[0]);
    cache_.template observe<mneme::evict::queries::turned>(state_, q.view()[0]);
    mneme::context::frame scratch(ctx_);
    const auto P = cache_.attention_room(ctx_, scratch, state_);
    for (index_t h = 0; h < P.rows(); ++h) {
      const auto received = numbers(token, 3 + h, P.cols());
      for (index_t i = 0; i < P.cols(); ++i) P[h][i] = std::abs(received.view()[0][i]);
    }
    cache_.remember(state_, P);
    cache_.settle(ctx_, state_, turns_);
  }
  void end_segment() { cache_.end_segment(ctx_, state_, turns_); }
  void fork() { other_ = state_; }
  void swap() { std::swap(other_, state_); }
  bool valid() const { return cache_.valid(state_); }

  std::vector<index_t> positions() const {
    std::vector<index_t> all;
    for (index_t list = 0; list < lists; ++list)
      for (index_t p : cache_.live(state_, list)) all.push_back(p);
    return all;
  }
  std::vector<float> rows() const {
    std::vector<float> all, scratch;
    for (index_t list = 0; list < lists; ++list) {
      const auto entries = state_.store.rows(cache_.shape(), list, state_.size);
      scratch.resize(static_cast<std::size_t>(entries.width()));
      for (index_t i = 0; i < state_.size; ++i) {
        const float* key = entries.template key_row<mneme::simd::scalar>(i, scratch.data());
        all.insert(all.end(), key, key + d_key);
        const float* value = entries.template value_row<mneme::simd::scalar>(i, scratch.data());
        all.insert(all.end(), value, value + d_value);
      }
    }
    return all;
  }

 private:
  static matrix<float> numbers(index_t token, index_t kind, index_t n) {
    return random_rows<float>(1, n, 0, static_cast<std::uint64_t>(token * 16 + kind));
  }
  mneme::rope turns_;
  mneme::kv_cache<float, Policy, Store> cache_;
  typename mneme::kv_cache<float, Policy, Store>::state state_, other_;
  mneme::context ctx_;
};

template <class Policy, class Store>
std::string kv_pair_difference() {
  using mneme::evict::trigger;
  constexpr bool resizable = mneme::kv_cache<float, Policy, Store>::resizable;
  for (const trigger when : {trigger::token, trigger::segment})
    for (const index_t capacity : {1, 7, 20}) {
      if (when == trigger::segment && !resizable) continue;
      fed_cache<Policy, mneme::store::contiguous<typename Store::codec>> plain(capacity, when);
      fed_cache<Policy, Store> other(capacity, when);
      const auto compare = [&](index_t token) {
        const std::string after =
            "after token " + std::to_string(token) + " of capacity " + std::to_string(capacity);
        if (!other.valid()) return "an invalid state " + after;
        if (other.positions() != plain.positions()) return "other entries " + after;
        return other.rows() != plain.rows() ? "other rows " + after : std::string();
      };
      for (index_t token = 0; token < 50; ++token) {
        if (token == 23) plain.fork(), other.fork();
        plain.feed(token);
        other.feed(token);
        if (token % 11 == 10) plain.end_segment(), other.end_segment();
        if (auto found = compare(token); !found.empty()) return found;
      }
      plain.swap();
      other.swap();
      if (auto found = compare(22); !found.empty()) return "the fork: " + found;
    }
  return {};
}

template <class Policy, class... Stores>
bool register_kv_pairs() {
  const auto add = []<class Store>(Store*) {
    if constexpr (mneme::store::Under<Store, Policy>)
      kv_pairs().push_back({std::string(Policy::name) + ", " + Store::name + "<" + Store::codec::name + ">",
                            &kv_pair_difference<Policy, Store>});
    return true;
  };
  return (add(static_cast<Stores*>(nullptr)) & ...);
}

}  // namespace mneme_test
