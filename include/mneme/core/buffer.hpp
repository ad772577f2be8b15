// SPDX-License-Identifier: Apache-2.0
// buffer: the one owner of bytes in states; resource and place: where those bytes come from.
#pragma once
#include "error.hpp"
#include "view.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace mneme::inline MNEME_ABI {

// Source of memory: heap, arena, huge pages, NUMA node. A table of two functions, so that no virtual base and
// no template parameter reaches the state types. Blocks are 64-byte aligned.
struct resource {
  void* (*allocate)(resource*, std::size_t bytes);
  void (*release)(resource*, void*, std::size_t bytes) noexcept;
};

inline resource* heap() {
  static constinit resource r{
      [](resource*, std::size_t n) -> void* { return ::operator new(n, std::align_val_t{64}); },
      [](resource*, void* p, std::size_t) noexcept { ::operator delete(p, std::align_val_t{64}); }};
  return &r;
}

// Where a state shall live: the argument of init(place).
template <class Space = host>
struct place_in {
  resource* from = heap();
};
using place = place_in<>;

// A regular array of trivially copyable elements. == is bit identity (reflexive with NaN). Copy-assignment
// reuses storage, so that `s = s0` resets a stream without allocating. A copy lives where its source lives.
template <class T>
class buffer<T, host> {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;

  buffer() = default;
  explicit buffer(index_t n, T value = T{}, place where = {}) : from_(where.from) {
    grow(n);
    size_ = n;
    std::fill_n(data_, n, value);
  }
  buffer(const buffer& o) : from_(o.from_) { assign(o); }
  buffer(buffer&& o) noexcept { swap(o); }
  buffer& operator=(const buffer& o) {
    if (this != &o) assign(o);
    return *this;
  }
  buffer& operator=(buffer&& o) noexcept {
    buffer(std::move(o)).swap(*this);
    return *this;
  }
  ~buffer() { release(); }

  void swap(buffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
    std::swap(from_, o.from_);
  }
  friend bool operator==(const buffer& a, const buffer& b) {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data_, b.data_, a.bytes()) == 0);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }
  index_t capacity() const { return capacity_; }
  T& operator[](index_t i) { return data_[i]; }
  const T& operator[](index_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  row_view<T> view() { return {data_, size_}; }
  row_view<const T> view() const { return {data_, size_}; }
  std::size_t bytes() const { return sizeof(T) * static_cast<std::size_t>(size_); }
  std::size_t reserved_bytes() const { return sizeof(T) * static_cast<std::size_t>(capacity_); }

  // Room for n elements without a further allocation; keeps the content.
  void reserve(index_t n) {
    if (n > capacity_) grow(n);
  }
  // New elements are zero. Grows geometrically, so that appending costs amortised constant time.
  void resize(index_t n) {
    if (n > capacity_) grow(std::max(n, 2 * capacity_));
    if (n > size_) std::fill(data_ + size_, data_ + n, T{});
    size_ = n;
  }

 private:
  void grow(index_t capacity) {
    if (capacity == 0) return;
    if (capacity < 0 || static_cast<std::size_t>(capacity) > PTRDIFF_MAX / sizeof(T))
      fail(message("a buffer of ", capacity, " elements of ", sizeof(T), " bytes is beyond any memory"));
    void* raw = from_->allocate(from_, sizeof(T) * static_cast<std::size_t>(capacity));
    T* fresh = static_cast<T*>(raw);
    if (size_ > 0) std::memcpy(static_cast<void*>(fresh), data_, bytes());
    release();
    data_ = fresh;
    capacity_ = capacity;
  }
  void assign(const buffer& o) {
    if (o.size_ > capacity_) {
      size_ = 0;  // nothing of the old content needs to move
      grow(o.size_);
    }
    size_ = o.size_;
    if (size_ > 0) std::memcpy(static_cast<void*>(data_), o.data_, bytes());
  }
  void release() noexcept {
    if (data_) from_->release(from_, data_, reserved_bytes());
    data_ = nullptr;
    capacity_ = 0;
  }

  T* data_ = nullptr;
  index_t size_ = 0, capacity_ = 0;
  resource* from_ = heap();
};

}  // namespace mneme::inline MNEME_ABI
