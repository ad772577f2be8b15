// SPDX-License-Identifier: Apache-2.0
// Only where OpenMP is on, and not under ThreadSanitizer, which does not see how its threads synchronise.
#if defined(_OPENMP) && !defined(__SANITIZE_THREAD__)
#include <mneme/backend/openmp.hpp>
#include <mneme/layer/linear.hpp>

#include "catch.hpp"
#include "laws/matrix.hpp"

#include <atomic>
#include <set>

using namespace mneme;

TEST_CASE("OpenMP threads run every index once, each on a context of its own") {
  openmp_executor threads(4);
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

TEST_CASE("the calling thread works on its own context") {
  openmp_executor one(1);
  CHECK(one.size() == 1);
  context ctx;
  ctx.threads = &one;
  ctx.parallel_for(3, [&](index_t, context& worker) { CHECK(&worker == &ctx); });
  openmp_executor three(3);
  ctx.threads = &three;
  std::array<context*, 30> seen{};
  ctx.parallel_for(30, [&](index_t i, context& worker) { seen[static_cast<std::size_t>(i)] = &worker; });
  const std::set<context*> workers(seen.begin(), seen.end());
  CHECK(workers.size() <= 3);
  CHECK(workers.count(&ctx) == 1);
}

TEST_CASE("workers keep their scratch between calls") {
  openmp_executor threads(3);
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

TEST_CASE("a layer has the same bits on any number of threads") {
  const linear<float> m({.d_in = 50, .d_out = 300, .bias = true}, 2);
  const auto X = mneme_test::random_rows<float>(7, 50, 0, 1);
  mneme_test::matrix<float> serial(7, 300), parallel(7, 300);
  context ctx;
  m.map(ctx, X, serial.view());
  for (int n : {1, 2, 5}) {
    openmp_executor threads(n);
    context on_threads;
    on_threads.threads = &threads;
    m.map(on_threads, X, parallel.view());
    CHECK(parallel == serial);
  }
}

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
