// SPDX-License-Identifier: Apache-2.0
// Hears evictions: attach it to a context for as long as it lives.
#pragma once
#include <mneme/core/context.hpp>

#include <utility>
#include <vector>

namespace mneme_test {

class eviction_log {
 public:
  using entry = std::pair<mneme::index_t, mneme::index_t>;  // list, position

  explicit eviction_log(mneme::context& ctx) : ctx_(ctx) { ctx_.on_eviction = &observer_; }
  eviction_log(const eviction_log&) = delete;
  eviction_log& operator=(const eviction_log&) = delete;
  ~eviction_log() { ctx_.on_eviction = nullptr; }

  const std::vector<entry>& told() const { return told_; }
  const mneme::eviction_observer* observer() const { return &observer_; }

 private:
  mneme::context& ctx_;
  std::vector<entry> told_;
  mneme::eviction_observer observer_{
      [](void* self, const mneme::eviction& e) {
        static_cast<eviction_log*>(self)->told_.push_back({e.list, e.position});
      },
      this};
};

}  // namespace mneme_test
