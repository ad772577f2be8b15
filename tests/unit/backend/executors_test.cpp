// SPDX-License-Identifier: Apache-2.0
// Both executors. OpenMP only where it is on, and not under ThreadSanitizer, which does not see how its
// threads synchronise.
#include <mneme/backend/thread_pool.hpp>
#if defined(_OPENMP) && !defined(__SANITIZE_THREAD__)
#define MNEME_TEST_OPENMP
#include <mneme/backend/openmp.hpp>
#endif
#include <mneme/layer/linear.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

#include <atomic>
#include <chrono>
#include <set>
#include <tuple>

using namespace mneme;

using executors = std::tuple<thread_pool
#if defined(MNEME_TEST_OPENMP)
                             ,
                             openmp_executor
#endif
                             >;

TEMPLATE_LIST_TEST_CASE("threads run every index once, each on a context of its own", "", executors) {
  TestType threads(4);
  CHECK(threads.size() == 4);
  context ctx;
  ctx.threads = &threads;
  for (index_t n : {0, 1, 2, 4, 5, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
    std::atomic<int> wrong{0};
    ctx.parallel_for(n, [&](index_t i, context& worker) {
      context::frame scratch(worker);
      const auto mine = scratch.row<index_t>(500);
      std::fill(mine.begin(), mine.end(), i);
      ++runs[static_cast<std::size_t>(i)];
      for (index_t x : mine) wrong += x != i;
    });
    for (const auto& r : runs) CHECK(r == 1);
    CHECK(wrong == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("a loop inside of a loop stays on its thread", "", executors) {
  TestType threads(3);
  context ctx;
  ctx.threads = &threads;
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> runs{0}, elsewhere{0};
    ctx.parallel_for(9, [&](index_t, context& worker) {
      worker.parallel_for(11, [&](index_t, context& inner) {
        ++runs;
        elsewhere += &inner != &worker;
      });
    });
    CHECK(runs == 9 * 11);
    CHECK(elsewhere == 0);
    CHECK(ctx.threads == &threads);
  }
}

TEMPLATE_LIST_TEST_CASE("the calling thread works on its own context", "", executors) {
  TestType one(1);
  CHECK(one.size() == 1);
  context ctx;
  ctx.threads = &one;
  ctx.parallel_for(3, [&](index_t, context& worker) { CHECK(&worker == &ctx); });
  TestType three(3);
  ctx.threads = &three;
  std::array<context*, 30> seen{};
  ctx.parallel_for(30, [&](index_t i, context& worker) { seen[static_cast<std::size_t>(i)] = &worker; });
  const std::set<context*> workers(seen.begin(), seen.end());
  CHECK(workers.size() <= 3);
  CHECK(workers.count(&ctx) == 1);
}

TEMPLATE_LIST_TEST_CASE("workers keep their scratch between calls", "", executors) {
  TestType threads(3);
  context ctx;
  ctx.threads = &threads;
  std::array<std::size_t, 3> held[2]{};
  for (auto& sizes : held) {
    ctx.parallel_for(3, [&](index_t, context& worker) {
      context::frame scratch(worker);
      scratch.row<char>(1 << 20)[0] = 'x';
    });
    ctx.parallel_for(
        3, [&](index_t i, context& worker) { sizes[static_cast<std::size_t>(i)] = worker.scratch_bytes(); });
  }
  for (std::size_t i = 0; i < 3; ++i) CHECK(held[0][i] == held[1][i]);
}

TEMPLATE_LIST_TEST_CASE("a layer has the same bits on any number of threads", "", executors) {
  const linear<float> m({.d_in = 50, .d_out = 300, .bias = true}, 2);
  const auto X = mneme_test::random_rows<float>(7, 50, 0, 1);
  mneme_test::matrix<float> serial(7, 300), parallel(7, 300);
  context ctx;
  m.map(ctx, X, serial.view());
  for (int n : {1, 2, 5}) {
    TestType threads(n);
    context on_threads;
    on_threads.threads = &threads;
    m.map(on_threads, X, parallel.view());
    CHECK(parallel == serial);
  }
}

TEST_CASE("a thread that has fallen asleep wakes for the next call, and for the end") {
  std::atomic<int> runs{0};
  {
    thread_pool threads(3);
    context ctx;
    ctx.threads = &threads;
    for (int call = 0; call < 3; ++call) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ctx.parallel_for(30, [&](index_t, context&) { ++runs; });
      CHECK(runs == 30 * (call + 1));
    }
    for (int call = 0; call < 2000; ++call) ctx.parallel_for(3, [&](index_t, context&) { ++runs; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  CHECK(runs == 90 + 6000);
}

#if defined(MNEME_TEST_OPENMP)
TEST_CASE("an executor may be used from within OpenMP's own parallel regions") {
  std::atomic<int> total{0};
#pragma omp parallel num_threads(2)
  {
    openmp_executor threads(2);  // one per calling thread
    context ctx;
    ctx.threads = &threads;
    ctx.parallel_for(10, [&](index_t, context&) { ++total; });
  }
  CHECK(total % 10 == 0);
  CHECK(total >= 10);
}
#endif
