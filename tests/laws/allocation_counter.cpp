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

// All of them, also under sanitizers, which bring forms of their own.
using std::align_val_t, std::nothrow_t, std::size_t;

void* operator new(size_t n) { return mneme_test::take(n, alignof(std::max_align_t)); }
void* operator new(size_t n, align_val_t a) { return mneme_test::take(n, static_cast<size_t>(a)); }
void* operator new[](size_t n) { return operator new(n); }
void* operator new[](size_t n, align_val_t a) { return operator new(n, a); }
void* operator new(size_t n, const nothrow_t&) noexcept { return operator new(n); }
void* operator new(size_t n, align_val_t a, const nothrow_t&) noexcept { return operator new(n, a); }
void* operator new[](size_t n, const nothrow_t&) noexcept { return operator new(n); }
void* operator new[](size_t n, align_val_t a, const nothrow_t&) noexcept { return operator new(n, a); }
void operator delete(void* p) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, size_t) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, align_val_t) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, size_t, align_val_t) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, const nothrow_t&) noexcept { mneme_test::give_back(p); }
void operator delete(void* p, align_val_t, const nothrow_t&) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p, size_t) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p, align_val_t) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p, size_t, align_val_t) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p, const nothrow_t&) noexcept { mneme_test::give_back(p); }
void operator delete[](void* p, align_val_t, const nothrow_t&) noexcept { mneme_test::give_back(p); }
