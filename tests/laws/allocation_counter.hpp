// SPDX-License-Identifier: Apache-2.0
// Counts calls of global operator new and delete on this thread (allocation_counter.cpp replaces them).
#pragma once
#include <cstddef>

namespace mneme_test {

struct allocation_count {
  std::size_t taken = 0, given_back = 0;
  friend bool operator==(const allocation_count&, const allocation_count&) = default;
};
allocation_count allocations_so_far() noexcept;

// What f allocates and frees.
template <class F>
allocation_count allocations_of(F&& f) {
  const auto before = allocations_so_far();
  f();
  const auto after = allocations_so_far();
  return {after.taken - before.taken, after.given_back - before.given_back};
}

}  // namespace mneme_test
