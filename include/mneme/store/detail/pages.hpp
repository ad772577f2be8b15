// SPDX-License-Identifier: Apache-2.0
// pages: bytes in pages that copies share until one of them writes.
#pragma once
#include "../../core/leaf.hpp"

#include <atomic>

namespace mneme::inline MNEME_ABI::store::detail {

// A regular list of equal, zeroed pages; == compares bytes. Copies in several threads do not disturb each
// other.
//   copy construction   shares every page: a pointer and a count each
//   assignment          copies the bytes of a page into one of its own where it has one, so that `s = s0`
//   between
//                       states of one size allocates nothing and shares nothing; else it shares the page. Of
//                       a list
//                       that began without pages, all but the last are shared: they are full, nobody writes
//                       to them
//   writing             to a shared page: copies the page first, into a spare page if there is one, else a
//   new one
// Pages that are no longer in use are kept as spares.
class pages {
 public:
  pages() = default;
  pages(index_t count, index_t page_bytes, place where)
      : held_(0, nullptr, where), from_(where.from), page_bytes_(page_bytes), grows_(count == 0) {
    resize(count);
  }
  pages(const pages& o)
      : held_(o.held_), from_(o.from_), size_(o.size_), page_bytes_(o.page_bytes_), grows_(o.grows_) {
    held_.resize(size_);  // spares are not shared
    for (page* p : held_) p->holders.fetch_add(1, std::memory_order_relaxed);
  }
  pages(pages&& o) noexcept { swap(o); }
  pages& operator=(const pages& o) {
    if (this != &o) assign(o);
    return *this;
  }
  pages& operator=(pages&& o) noexcept {
    pages(std::move(o)).swap(*this);
    return *this;
  }
  ~pages() { drop(0); }
  void swap(pages& o) noexcept {
    held_.swap(o.held_);
    std::swap(from_, o.from_);
    std::swap(size_, o.size_);
    std::swap(page_bytes_, o.page_bytes_);
    std::swap(grows_, o.grows_);
  }
  friend bool operator==(const pages& a, const pages& b) {
    if (a.size_ != b.size_ || (a.size_ > 0 && a.page_bytes_ != b.page_bytes_)) return false;
    for (index_t i = 0; i < a.size_; ++i)
      if (a.held_[i] != b.held_[i] && std::memcmp(a[i], b[i], a.bytes_of_page()) != 0) return false;
    return true;
  }

  struct alignas(64) page {  // the bytes follow
    std::atomic<index_t> holders;
    resource* from;
    const std::byte* bytes() const { return reinterpret_cast<const std::byte*>(this) + sizeof(page); }
  };

  index_t size() const { return size_; }
  index_t page_bytes() const { return page_bytes_; }
  bool grows() const { return grows_; }  // began without pages
  const page* const* table() const { return held_.data(); }
  const std::byte* operator[](index_t i) const { return held_[i]->bytes(); }
  std::byte* writable(index_t i) {
    own(i);
    return const_cast<std::byte*>(held_[i]->bytes());
  }

  // Of an empty list.
  void set_page_bytes(index_t n) {
    if (n != page_bytes_) drop(0);
    page_bytes_ = n;
  }
  // New pages are zero.
  void resize(index_t count) {
    for (; size_ < count; ++size_) {
      if (size_ == held_.size()) keep(allocate());
      std::memset(const_cast<std::byte*>(held_[size_]->bytes()), 0, bytes_of_page());
    }
    while (size_ > count) {
      page* last = held_[--size_];
      if (is_own(last)) continue;  // stands where spares do
      held_[size_] = held_[held_.size() - 1];
      held_.resize(held_.size() - 1);
      release(last);
    }
  }
  // Until there are `count` pages, resizing and writing to a page from `first` on allocates nothing.
  void reserve(index_t count, index_t first) {
    held_.reserve(2 * count +
                  1);  // with room for as many spares, should others' pages take the places of these
    for (index_t i = first; i < size_; ++i) own(i);
    while (held_.size() < count) keep(allocate());
  }

  footprint_t footprint() const {
    const std::size_t each = sizeof(page) + bytes_of_page();
    footprint_t f{0, 0, held_.reserved_bytes() + each * static_cast<std::size_t>(held_.size() - size_)};
    for (index_t i = 0; i < size_; ++i) (is_own(held_[i]) ? f.owned : f.shared) += each;
    return f;
  }
  // One leaf of bytes, page after page.
  friend leaf as_leaf(pages& p) {
    leaf l{element::u8, false, nullptr, p.size_ * p.page_bytes_, 1, p.footprint(), &p, nullptr};
    l.resize = [](void* owner, index_t n) {
      auto& self = *static_cast<pages*>(owner);
      if (self.page_bytes_ > 0) self.resize((n + self.page_bytes_ - 1) / self.page_bytes_);
    };
    l.page_bytes = p.page_bytes_;
    l.page = [](void* owner, index_t i, bool to_write) {
      auto& self = *static_cast<pages*>(owner);
      return to_write ? self.writable(i) : const_cast<std::byte*>(self[i]);
    };
    return l;
  }

 private:
  std::size_t bytes_of_page() const { return static_cast<std::size_t>(page_bytes_); }
  static bool is_own(const page* p) { return p->holders.load(std::memory_order_acquire) == 1; }

  page* allocate() const {
    void* raw = from_->allocate(from_, sizeof(page) + bytes_of_page());
    return new (raw) page{1, from_};
  }
  void release(page* p) const noexcept {
    if (p->holders.fetch_sub(1, std::memory_order_acq_rel) == 1)
      p->from->release(p->from, p, sizeof(page) + bytes_of_page());
  }
  void keep(page* p) {
    held_.resize(held_.size() + 1);
    held_[held_.size() - 1] = p;
  }
  page* spare() {
    if (held_.size() == size_) return nullptr;
    page* p = held_[held_.size() - 1];
    held_.resize(held_.size() - 1);
    return p;
  }
  void copy_bytes(page* to, const page* from) const {
    std::memcpy(const_cast<std::byte*>(to->bytes()), from->bytes(), bytes_of_page());
  }
  void own(index_t i) {
    page* shared = held_[i];
    if (is_own(shared)) return;
    page* p = spare();
    if (!p) p = allocate();
    copy_bytes(p, shared);
    release(std::exchange(held_[i], p));
  }
  void drop(index_t count) noexcept {  // all pages from `count` on, spares too
    for (index_t i = count; i < held_.size(); ++i) release(held_[i]);
    held_.resize(count);
    size_ = std::min(size_, count);
  }

  void assign(const pages& o) {
    set_page_bytes(o.page_bytes_);
    grows_ = o.grows_;
    resize_as_is(o.size_);
    for (index_t i = 0; i < size_; ++i) {
      page *theirs = o.held_[i], *mine = held_[i];
      if (mine == theirs) continue;
      const bool full = o.grows_ && i + 1 < o.size_;
      if (!full && mine && !is_own(mine)) {
        release(std::exchange(mine, nullptr));
        held_[i] = nullptr;
      }
      if (!full && !mine) held_[i] = mine = spare();
      if (!full && mine) {
        copy_bytes(mine, theirs);
        continue;
      }
      theirs->holders.fetch_add(1, std::memory_order_relaxed);
      held_[i] = theirs;
      if (mine && is_own(mine))
        keep(mine);
      else if (mine)
        release(mine);
    }
  }
  // `count` places; those beyond the pages in use are null.
  void resize_as_is(index_t count) {
    if (count <= size_) return resize(count);
    const index_t spares = held_.size() - size_, added = count - size_;
    held_.resize(held_.size() + added);
    for (index_t i = 0; i < spares; ++i)
      std::swap(held_[size_ + spares - 1 - i], held_[held_.size() - 1 - i]);
    size_ = count;
  }

  buffer<page*> held_;  // [0, size) in use, then spares, which nobody else holds
  resource* from_ = heap();
  index_t size_ = 0, page_bytes_ = 0;
  bool grows_ = true;
};

}  // namespace mneme::inline MNEME_ABI::store::detail
