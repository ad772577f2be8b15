// SPDX-License-Identifier: Apache-2.0
// A bounded eviction policy says by which score entries leave.
// expect: constraint
#include <mneme/memory/kv_attention.hpp>

struct policy {
  static constexpr const char* name = "none";
  static constexpr bool bounded = true, reads_attention = false, has_meta = false;
  static constexpr mneme::evict::scope where = mneme::evict::scope::layer;
#if defined(MNEME_CONTROL)
  template <class T>
  static constexpr T score(const mneme::evict::entry<T>&, const mneme::evict::moment&) {
    return T(0);
  }
#endif
};

using memory = mneme::kv_attention<float, policy>;
