// SPDX-License-Identifier: Apache-2.0
// context: what a call needs beside model, state and data: scratch space, threads, options, an eviction
// observer.
#pragma once
#include "view.hpp"

#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace mneme::inline MNEME_ABI {

// How numbers may be computed. The path is chosen by this option or by type, never by the number of rows.
enum class precision : std::uint8_t {
  exact,  // float32 (or wider) products and sums in a fixed order: row-stable
  fast,   // reduced-precision products are allowed where a kernel offers them
};

// Runs body(arg, i, worker) for i in [0, n), in any order, on any threads; each worker brings its own
// context.
// The default is serial. Adapters live in backend/.
struct executor {
  using body = void (*)(void* arg, index_t i, context& worker);
  void (*run)(executor* self, index_t n, body f, void* arg, context& caller);
};

// One entry that a bounded cache lets go, told before its slot is reused.
struct eviction {
  const char* reason;         // name of the policy
  index_t list;               // key/value head
  index_t position;           // absolute position of the token
  row_view<const float> key;  // as attended (after a lossy codec: the decoded row)
  row_view<const float> value;
};
struct eviction_observer {
  void (*evicted)(void* self, const eviction& e);
  void* self = nullptr;
};

// One per calling thread. Scratch frames nest: what a frame hands out is released when it ends. Once the
// context has seen a shape (see prepare), no call allocates.
template <>
class context_in<host> {
 public:
  explicit context_in(std::size_t scratch_bytes = std::size_t{1} << 16) {
    blocks_.push_back(block(scratch_bytes));
  }
  context_in(const context_in&) = delete;
  context_in& operator=(const context_in&) = delete;

  precision numeric = precision::exact;
  index_t block_rows = 256;                        // tokens that a composite pushes through a layer at once
  executor* threads = nullptr;                     // null: serial
  const eviction_observer* on_eviction = nullptr;  // null: silent
  bool preparing = false;  // set by prepare: choices by data or position take every path, at its largest

  // Scratch rows, uninitialised, 64-byte aligned.
  class frame {
   public:
    explicit frame(context_in& c) : context_(c), block_(c.current_), used_(c.used_) { ++c.depth_; }
    frame(const frame&) = delete;
    frame& operator=(const frame&) = delete;
    ~frame() { context_.leave(block_, used_); }

    template <class T>
    row_view<T> row(index_t n) {
      static_assert(std::is_trivially_destructible_v<T>);
      return {static_cast<T*>(context_.take(sizeof(T) * static_cast<std::size_t>(n))), n};
    }
    template <class T>
    mat_view<T> mat(index_t rows, index_t cols) {
      return {row<T>(rows * cols).data(), rows, cols};
    }

   private:
    context_in& context_;
    std::size_t block_, used_;
  };

  // f(i, worker_context) for i in [0, n), over the executor's threads; f does not throw.
  template <class F>
  void parallel_for(index_t n, F&& f) {
    if (!threads || n <= 1) {
      for (index_t i = 0; i < n; ++i) f(i, *this);
      return;
    }
    using body = std::remove_reference_t<F>;
    executor* const all = std::exchange(threads, nullptr);  // a loop inside of f stays on its thread
    all->run(
        all, n, [](void* arg, index_t i, context_in& worker) { (*static_cast<body*>(arg))(i, worker); },
        const_cast<std::remove_const_t<body>*>(&f), *this);
    threads = all;
  }

  // Bytes of scratch held (all of it reusable).
  std::size_t scratch_bytes() const {
    std::size_t n = 0;
    for (const block& b : blocks_) n += b.size;
    return n;
  }

 private:
  static constexpr std::size_t alignment = 64;
  struct release {
    void operator()(std::byte* p) const noexcept { ::operator delete(p, std::align_val_t{alignment}); }
  };
  struct block {
    explicit block(std::size_t n)
        : bytes(static_cast<std::byte*>(::operator new(n, std::align_val_t{alignment}))), size(n) {}
    std::unique_ptr<std::byte, release> bytes;
    std::size_t size;
  };

  void* take(std::size_t n) {
    n = (n + alignment - 1) / alignment * alignment;
    while (used_ + n > blocks_[current_].size) {  // chain a block: nothing handed out moves
      const std::size_t want = 2 * scratch_bytes() + n;
      ++current_;
      used_ = 0;
      if (current_ == blocks_.size()) blocks_.push_back(block(want));
    }
    void* p = blocks_[current_].bytes.get() + used_;
    used_ += n;
    return p;
  }
  void leave(std::size_t to_block, std::size_t to_used) noexcept {
    current_ = to_block;
    used_ = to_used;
    if (--depth_ == 0 && blocks_.size() > 1) {  // one block that holds what the chain held
      const std::size_t all = scratch_bytes();
      blocks_.clear();
      blocks_.push_back(block(all));
      current_ = used_ = 0;
    }
  }

  std::vector<block> blocks_;
  std::size_t current_ = 0, used_ = 0;
  int depth_ = 0;
};

}  // namespace mneme::inline MNEME_ABI
