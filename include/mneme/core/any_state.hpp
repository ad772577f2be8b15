// SPDX-License-Identifier: Apache-2.0
// any_state: the state of an erased memory, itself a regular value.
#pragma once
#include "leaf.hpp"

#include <functional>
#include <utility>

namespace mneme::inline MNEME_ABI {

// Copy, ==, fields and footprint mean what they mean for the erased state. Copy-assignment between states of
// one type reuses storage. T is the scalar type of the memory, so that states of float and double memories do
// not mix.
template <class T>
class any_state {
 public:
  using composed_fields = void;

  any_state() = default;
  template <class S>
  static any_state of(S s) {
    any_state a;
    a.object_ = new S(std::move(s));
    a.table_ = &table_for<S>;
    return a;
  }
  any_state(const any_state& o)
      : object_(o.object_ ? o.table_->copy(o.object_) : nullptr), table_(o.table_) {}
  any_state(any_state&& o) noexcept { swap(o); }
  any_state& operator=(const any_state& o) {
    if (this == &o) return *this;
    if (object_ && table_ == o.table_)
      table_->assign(object_, o.object_);
    else
      any_state(o).swap(*this);
    return *this;
  }
  any_state& operator=(any_state&& o) noexcept {
    any_state(std::move(o)).swap(*this);
    return *this;
  }
  ~any_state() {
    if (object_) table_->destroy(object_);
  }
  void swap(any_state& o) noexcept {
    std::swap(object_, o.object_);
    std::swap(table_, o.table_);
  }
  friend bool operator==(const any_state& a, const any_state& b) {
    return a.table_ == b.table_ && (a.object_ == b.object_ || a.table_->equal(a.object_, b.object_));
  }

  static constexpr void fields(auto&&, auto&...) {}  // parts are known at run time: see visit_leaves
  template <class F>
  void visit_leaves(F& f, const field_path& at) {
    using visitor = std::remove_reference_t<F>;
    if (object_)
      table_->visit(object_, at, &f,
                    [](void* v, const field_path& path, leaf& l) { (*static_cast<visitor*>(v))(path, l); });
  }
  template <class F>
  void visit_leaves(F& f, const field_path& at) const {
    const_cast<any_state*>(this)->visit_leaves(f, at);
  }

  // The erased state. Precondition: it is an S.
  template <class S>
  S& as() {
    return *static_cast<S*>(object_);
  }
  template <class S>
  const S& as() const {
    return *static_cast<const S*>(object_);
  }

 private:
  using visit_one = void (*)(void* visitor, const field_path&, leaf&);
  struct table {
    void* (*copy)(const void*);
    void (*assign)(void*, const void*);
    bool (*equal)(const void*, const void*);
    void (*destroy)(void*) noexcept;
    void (*visit)(void*, const field_path&, void* visitor, visit_one);
  };
  template <class S>
  static constexpr table table_for{
      [](const void* s) -> void* { return new S(*static_cast<const S*>(s)); },
      [](void* to, const void* from) { *static_cast<S*>(to) = *static_cast<const S*>(from); },
      [](const void* a, const void* b) { return *static_cast<const S*>(a) == *static_cast<const S*>(b); },
      [](void* s) noexcept { delete static_cast<S*>(s); },
      [](void* s, const field_path& at, void* visitor, visit_one f) {
        visit_fields(
            [&](const field_path& path, auto& member) {
              auto l = as_leaf(member);
              f(visitor, path, l);
            },
            at, *static_cast<S*>(s));
      }};

  void* object_ = nullptr;
  const table* table_ = nullptr;
};

}  // namespace mneme::inline MNEME_ABI
