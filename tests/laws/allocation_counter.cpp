// SPDX-License-Identifier: Apache-2.0
#include "allocation_counter.hpp"

#include <cstdlib>
#include <new>

namespace mneme_test {
namespace {
thread_local allocation_count counted;

void* take(std::size_t n, std::size_t alignment) {
  ++counted.taken;
  const std::size_t rounded = (n + alignment - 1) / alignment * alignment;
  if (void* p = std::aligned_alloc(alignment, rounded ? rounded : alignment)) return p;
  throw std::bad_alloc();
}
void give_back(void* p) noexcept {
  counted.given_back += p != nullptr;
  std::free(p);
}
}  // namespace
allocation_count allocations_so_far() noexcept { return counted; }
}  // namespace mneme_test

// The array and nothrow forms of the standard library call these.
void* operator new(std::size_t n) { return mneme_test::take(n, alignof(std::max_align_t)); }
void* operator new(std::size_t n, std::align_val_t a) { return mneme_test::take(n, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, std::size_t) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { mneme_test::give_back(p); }
