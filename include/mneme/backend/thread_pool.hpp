// SPDX-License-Identifier: Apache-2.0
// An executor over threads of its own, which sleep when there is nothing to do.
#pragma once
#include "../core/context.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace mneme::inline MNEME_ABI {

//   thread_pool threads(4);   context ctx;   ctx.threads = &threads;
// The calling thread works on its own context, every other thread on one that is kept here between calls.
// Which thread does what depends on numbers alone, so that its scratch and its cache have seen the work
// before. A thread that waits looks for work for tens of microseconds, then sleeps: other work on the same
// cores costs its share of time and no more.
// Serves one calling thread at a time. Fails where the system gives no thread (std::system_error).
class thread_pool : public executor {
 public:
  explicit thread_pool(int threads) : executor{&run_on}, size_(threads < 1 ? 1 : threads) {
    try {
      for (int id = 1; id < size_; ++id) {
        contexts_.push_back(std::make_unique<context>());
        workers_.emplace_back([this, id, &own = *contexts_.back()] { serve(id, own); });
      }
    } catch (...) {
      stop();
      throw;
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { stop(); }
  int size() const { return size_; }

 private:
  static constexpr int looks = 4000;  // of some ten nanoseconds each: longer than an op waits for the next

  static void run_on(executor* self, index_t n, body f, void* arg, context& caller) {
    static_cast<thread_pool*>(self)->run(n, f, arg, caller);
  }
  void run(index_t n, body f, void* arg, context& caller) {
    n_ = n, f_ = f, arg_ = arg;
    busy_.store(size_ - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    share(0, caller);
    wait_while(busy_, [](int b) { return b != 0; });
  }
  void serve(int id, context& own) {
    for (unsigned seen = 0;;) {
      seen = wait_while(round_, [seen](unsigned r) { return r == seen; });
      if (stopped_.load(std::memory_order_relaxed)) return;
      share(id, own);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
    }
  }
  // The part of [0, n) that belongs to thread `id`.
  void share(int id, context& own) const {
    for (index_t i = n_ * id / size_; i < n_ * (id + 1) / size_; ++i) f_(arg_, i, own);
  }
  static void relax() {  // tells the core that this is a loop of waiting
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  // The first value seen that is not `unchanged`.
  template <class V, class F>
  static V wait_while(const std::atomic<V>& a, F&& unchanged) {
    V v = a.load(std::memory_order_acquire);
    for (int look = 0; look < looks && unchanged(v); ++look, v = a.load(std::memory_order_acquire)) relax();
    for (; unchanged(v); v = a.load(std::memory_order_acquire)) a.wait(v, std::memory_order_acquire);
    return v;
  }
  void stop() {
    stopped_.store(true, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (std::thread& w : workers_) w.join();
  }

  int size_;
  index_t n_ = 0;
  body f_ = nullptr;
  void* arg_ = nullptr;
  alignas(64) std::atomic<unsigned> round_{0};
  alignas(64) std::atomic<int> busy_{0};
  std::atomic<bool> stopped_{false};
  std::vector<std::unique_ptr<context>> contexts_;
  std::vector<std::thread> workers_;
};

}  // namespace mneme::inline MNEME_ABI
