// SPDX-License-Identifier: Apache-2.0
// any_memory: a memory chosen at run time; itself a Memory, with a separate erased state.
#pragma once
#include "any_state.hpp"
#include "scan.hpp"

#include <memory>

namespace mneme::inline MNEME_ABI {

// Also the boundary between units built with different instruction sets, and the reason why laws, benches and
// the state file compile once. Refinements that the erased type lacks are asked for at run time, the one
// place where that is so: growing(), segmented(), readable(), rewindable(), evicting().
template <class T, class Input = T>
class any_memory {
 public:
  using scalar = T;
  using input = Input;
  using state = any_state<T>;

  any_memory() = default;
  template <Memory M>
    requires(!std::same_as<M, any_memory> && std::same_as<scalar_t<M>, T> &&
             std::same_as<input_t<M>, Input> && std::same_as<space_t<M>, host>)
  any_memory(M m) : table_(&table_for<M>), d_in_(m.d_in()), d_out_(m.d_out()) {
    if constexpr (requires { m.vocabulary(); }) vocabulary_ = m.vocabulary();
    object_ = std::make_shared<const M>(std::move(m));
  }

  index_t d_in() const { return d_in_; }
  index_t d_out() const { return d_out_; }
  index_t vocabulary() const { return vocabulary_; }  // 0 unless the input is token ids
  state init(place where = {}) const { return table_->init(object_.get(), where); }
  void step(context& ctx, state& s, row_view<const Input> x, row_view<T> y) const noexcept {
    table_->step(object_.get(), ctx, s, x, y);
  }
  void scan(context& ctx, state& s, mat_view<const Input> X, mat_view<T> Y) const {
    table_->scan(object_.get(), ctx, s, X, Y);
  }
  void scan_many(context& ctx, std::span<const lane<state>> lanes, mat_view<const Input> X,
                 mat_view<T> Y) const {
    table_->scan_many(object_.get(), ctx, lanes, X, Y);
  }

  bool growing() const { return table_->reserve != nullptr; }
  bool reserve(state& s, index_t n) const { return growing() ? table_->reserve(object_.get(), s, n) : true; }
  bool segmented() const { return table_->end_segment != nullptr; }
  void end_segment(context& ctx, state& s) const {
    if (segmented()) table_->end_segment(object_.get(), ctx, s);
  }
  bool readable() const { return table_->read != nullptr; }
  // Precondition: readable().
  void read(context& ctx, const state& s, row_view<const Input> q, row_view<T> y) const {
    table_->read(object_.get(), ctx, s, q, y);
  }
  bool rewindable() const { return table_->rewind != nullptr; }
  // Precondition: rewindable().
  index_t mark(const state& s) const { return table_->mark(object_.get(), s); }
  index_t rewindable_by(const state& s) const { return table_->rewindable_by(object_.get(), s); }
  bool rewind(context& ctx, state& s, index_t mark) const {
    return table_->rewind(object_.get(), ctx, s, mark);
  }
  bool evicting() const { return table_->live != nullptr; }
  // Precondition: evicting().
  index_t capacity() const { return table_->capacity(object_.get()); }
  index_t segment_capacity() const { return table_->segment_capacity(object_.get()); }
  index_t lists() const { return table_->lists(object_.get()); }
  std::vector<index_t> live(const state& s, index_t list) const {
    return table_->live(object_.get(), s, list);
  }
  bool is_row_stable() const { return table_->row_stable; }
  // Whether the parts of a state (of a file, say) belong together; see Validated in concepts.hpp.
  bool valid(const state& s) const { return table_->valid(object_.get(), s); }

 private:
  struct table {
    state (*init)(const void*, place);
    void (*step)(const void*, context&, state&, row_view<const Input>, row_view<T>) noexcept;
    void (*scan)(const void*, context&, state&, mat_view<const Input>, mat_view<T>);
    void (*scan_many)(const void*, context&, std::span<const lane<state>>, mat_view<const Input>,
                      mat_view<T>);
    bool (*reserve)(const void*, state&, index_t) = nullptr;
    void (*end_segment)(const void*, context&, state&) = nullptr;
    void (*read)(const void*, context&, const state&, row_view<const Input>, row_view<T>) = nullptr;
    index_t (*mark)(const void*, const state&) = nullptr;
    index_t (*rewindable_by)(const void*, const state&) = nullptr;
    bool (*rewind)(const void*, context&, state&, index_t) = nullptr;
    index_t (*capacity)(const void*) = nullptr;
    index_t (*segment_capacity)(const void*) = nullptr;
    index_t (*lists)(const void*) = nullptr;
    std::vector<index_t> (*live)(const void*, const state&, index_t) = nullptr;
    bool (*valid)(const void*, const state&);
    bool row_stable = false;
  };

  template <class M>
  static const M& at(const void* p) {
    return *static_cast<const M*>(p);
  }
  template <class M>
  static constexpr table make_table() {
    using S = state_t<M>;
    table t{};
    t.init = [](const void* m, place where) { return state::of(at<M>(m).init(where)); };
    t.step = [](const void* m, context& ctx, state& s, row_view<const Input> x, row_view<T> y) noexcept {
      mneme::step(at<M>(m), ctx, s.template as<S>(), x, y);
    };
    t.scan = [](const void* m, context& ctx, state& s, mat_view<const Input> X, mat_view<T> Y) {
      mneme::scan(at<M>(m), ctx, s.template as<S>(), X, Y);
    };
    t.scan_many = [](const void* m, context& ctx, std::span<const lane<state>> lanes, mat_view<const Input> X,
                     mat_view<T> Y) {
      context::frame scratch(ctx);
      const auto inner = scratch.template row<lane<S>>(static_cast<index_t>(lanes.size()));
      index_t i = 0;
      for (const auto& l : lanes) inner[i++] = {&l.state->template as<S>(), l.rows, l.outs};
      mneme::scan_many(at<M>(m), ctx, lanes_of<M>(inner.data(), lanes.size()), X, Y);
    };
    if constexpr (Growing<M>)
      t.reserve = [](const void* m, state& s, index_t n) { return at<M>(m).reserve(s.template as<S>(), n); };
    if constexpr (Segmented<M>)
      t.end_segment = [](const void* m, context& ctx, state& s) {
        at<M>(m).end_segment(ctx, s.template as<S>());
      };
    if constexpr (Readable<M>)
      t.read = [](const void* m, context& ctx, const state& s, row_view<const Input> q, row_view<T> y) {
        at<M>(m).read(ctx, s.template as<S>(), q, y);
      };
    if constexpr (Rewindable<M>) {
      t.mark = [](const void* m, const state& s) { return at<M>(m).mark(s.template as<S>()); };
      t.rewindable_by = [](const void* m, const state& s) {
        return at<M>(m).rewindable_by(s.template as<S>());
      };
      t.rewind = [](const void* m, context& ctx, state& s, index_t mark) {
        return at<M>(m).rewind(ctx, s.template as<S>(), mark);
      };
    }
    if constexpr (Evicting<M>) {
      t.capacity = [](const void* m) { return at<M>(m).capacity(); };
      t.segment_capacity = [](const void* m) {
        if constexpr (requires { at<M>(m).segment_capacity(); })
          return at<M>(m).segment_capacity();
        else
          return at<M>(m).capacity();
      };
      t.lists = [](const void* m) { return at<M>(m).lists(); };
      t.live = [](const void* m, const state& s, index_t list) {
        return at<M>(m).live(s.template as<S>(), list);
      };
    }
    t.valid = [](const void* m, const state& s) { return mneme::valid(at<M>(m), s.template as<S>()); };
    t.row_stable = mneme::row_stable<M>;
    return t;
  }
  template <class M>
  static constexpr table table_for = make_table<M>();

  std::shared_ptr<const void> object_;
  const table* table_ = nullptr;
  index_t d_in_ = 0, d_out_ = 0, vocabulary_ = 0;
};

}  // namespace mneme::inline MNEME_ABI
