// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "../core/fields.hpp"
#include "detail/layout.hpp"
#include "detail/pages.hpp"

namespace mneme::inline MNEME_ABI::store {

// Entries of one list, `page` slots after each other in pages that lie anywhere.
template <dtype D, index_t Page>
struct paged_rows {
  static constexpr dtype type = D;
  template <class T>
  static constexpr bool in_place = stored_row<D>::template in_place<T>;

  const detail::pages::page* const* table;
  index_t keys, values;              // where in a page those of slot 0 stand
  index_t key_stride, value_stride;  // bytes from one slot to the next
  index_t d_key, d_value;
  index_t size;

  index_t width() const { return stored_row<D>::padded(std::max(d_key, d_value)); }
  const std::byte* key(index_t i) const { return table[i / Page]->bytes() + keys + i % Page * key_stride; }
  const std::byte* value(index_t i) const {
    return table[i / Page]->bytes() + values + i % Page * value_stride;
  }
  template <class Arch, class T>
  const T* key_row(index_t i, T* scratch) const noexcept {
    return stored_row<D>::template decoded<Arch>(key(i), d_key, scratch);
  }
  template <class Arch, class T>
  const T* value_row(index_t i, T* scratch) const noexcept {
    return stored_row<D>::template decoded<Arch>(value(i), d_value, scratch);
  }
};

// Layout: pages of 16 slots, shared by copies of a state until one writes to them. A copy of a large cache
// costs a pointer per page; `footprint` tells what is shared. Two streams that begin with the same tokens
// fork one state.
//   page   keys [16][lists][key row bytes], then values [16][lists][value row bytes]; dead slots are zero
// What a write to a shared page allocates is one page, once. None in a step after `reserve`, which also makes
// own what the step may write to: the last page of a cache that only grows, all pages of a bounded one.
// Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention",
// 2023, sections 4.2 and 4.3.
// Deviations: one table for all heads of a layer; pages belong to states, not to a pool of fixed size.
template <class Codec>
struct paged {
  using codec = Codec;
  static constexpr const char* name = "paged";
  static constexpr double rounding = storage_rounding(Codec::type);
  static constexpr bool shares = true;
  static constexpr index_t page = 16;
  template <class Policy>
  static constexpr bool legal = true;

  detail::pages pages;
  index_t slots = 0;

  friend bool operator==(const paged&, const paged&) = default;
  static constexpr void fields(auto&& f, auto&... s) {
    f("pages", s.pages...);
    f("slots", s.slots...);
  }

  static paged with_slots(const kv_shape& shape, index_t n, place where) {
    return {detail::pages(pages_of(n), page_bytes(shape), where), n};
  }
  bool holds(const kv_shape& shape, index_t n, [[maybe_unused]] index_t dropped = 0) const {
    return slots == n && pages.size() == pages_of(n) && (n == 0 || pages.page_bytes() == page_bytes(shape));
  }
  void resize(const kv_shape& shape, index_t n) {
    if (pages.size() == 0) pages.set_page_bytes(page_bytes(shape));
    const index_t live = n % page;  // in the last page
    if (n < slots && live > 0) {
      std::byte* last = pages.writable(n / page);
      const index_t key = shape.lists * key_bytes(shape), value = shape.lists * value_bytes(shape);
      std::fill_n(last + live * key, (page - live) * key, std::byte{});
      std::fill_n(last + page * key + live * value, (page - live) * value, std::byte{});
    }
    pages.resize(pages_of(n));
    slots = n;
  }
  // Room for that many slots in all: steps that end with fewer allocate nothing.
  void reserve(const kv_shape& shape, index_t n) {
    if (pages.size() == 0) pages.set_page_bytes(page_bytes(shape));
    pages.reserve(pages_of(n), pages.grows() ? std::max<index_t>(pages.size() - 1, 0) : 0);
  }

  template <class T>
  void write(const kv_shape& shape, index_t list, index_t slot, const T* key, const T* value) noexcept {
    std::byte* p = pages.writable(slot / page);
    detail::row_codec<Codec>::encode(key, shape.d_key, p + key_at(shape, list, slot));
    detail::row_codec<Codec>::encode(value, shape.d_value, p + value_at(shape, list, slot));
  }
  void move(const kv_shape& shape, index_t list, index_t from, index_t to) noexcept {
    std::byte *target = pages.writable(to / page), *source = pages.writable(from / page);
    move_row(source + key_at(shape, list, from), target + key_at(shape, list, to), key_bytes(shape));
    move_row(source + value_at(shape, list, from), target + value_at(shape, list, to), value_bytes(shape));
  }
  paged_rows<Codec::type, page> rows(const kv_shape& shape, index_t list, index_t n) const noexcept {
    return {pages.table(),
            key_at(shape, list, 0),
            value_at(shape, list, 0),
            shape.lists * key_bytes(shape),
            shape.lists * value_bytes(shape),
            shape.d_key,
            shape.d_value,
            n};
  }

 private:
  static index_t pages_of(index_t slots) { return slots / page + (slots % page != 0); }
  static index_t key_bytes(const kv_shape& shape) { return detail::row_codec<Codec>::bytes(shape.d_key); }
  static index_t value_bytes(const kv_shape& shape) { return detail::row_codec<Codec>::bytes(shape.d_value); }
  static index_t page_bytes(const kv_shape& shape) {
    return page * shape.lists * (key_bytes(shape) + value_bytes(shape));
  }
  static index_t key_at(const kv_shape& shape, index_t list, index_t slot) {
    return (slot % page * shape.lists + list) * key_bytes(shape);
  }
  static index_t value_at(const kv_shape& shape, index_t list, index_t slot) {
    return page * shape.lists * key_bytes(shape) + (slot % page * shape.lists + list) * value_bytes(shape);
  }
  static void move_row(std::byte* from, std::byte* to, index_t n) {
    if (from != to) std::copy_n(from, n, to);
    std::fill_n(from, n, std::byte{});
  }
};

}  // namespace mneme::inline MNEME_ABI::store
