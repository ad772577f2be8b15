// SPDX-License-Identifier: Apache-2.0
// register_kv: one eviction policy with some stores (layout over codec); pairs that do not type-check are
// left out.
#pragma once
#include <mneme/evict/full.hpp>
#include <mneme/memory/kv_attention.hpp>

#include "register.hpp"

namespace mneme_test {

using plain_store = mneme::store::contiguous<mneme::store::f32>;

template <class Policy, class Store, bool InDouble>
struct kv_family {
  template <class T>
    requires(std::is_same_v<T, float> || InDouble)
  using native = mneme::kv_attention<T, Policy, Store>;
  template <class T>
  using oracle = mneme::kv_attention<T, Policy, Store, mneme::reference>;
  // The same store under the policy that evicts nothing; of layouts that need a bound, one that does not.
  template <class T>
  using unbounded =
      mneme::kv_attention<T, mneme::evict::full,
                          std::conditional_t<mneme::store::Under<Store, mneme::evict::full>, Store,
                                             mneme::store::contiguous<typename Store::codec>>>;
  static std::string name() {
    return std::string("kv_attention<") + Policy::name + ", " + Store::name + "<" + Store::codec::name + ">>";
  }
};

// In double the plain store alone, and that under the policies that are seen with more than one: neither what
// another store does to rows nor whom a policy chooses depends on the arithmetic around it.
template <class Policy, class... Stores>
bool register_kv() {
  return (register_family<
              kv_family<Policy, Stores, (sizeof...(Stores) > 1) && std::is_same_v<Stores, plain_store>>>() &
          ...);
}

}  // namespace mneme_test
