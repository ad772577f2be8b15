// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/context.hpp>

#include "catch.hpp"

#include <atomic>
#include <cstdint>
#include <numeric>
#include <thread>

using namespace mneme;

namespace {

// Splits the range over threads, each with a context of its own.
struct thread_team : executor {
  std::vector<std::unique_ptr<context>> contexts;
  explicit thread_team(std::size_t n)
      : executor{[](executor* self, index_t count, body f, void* arg, context&) {
          auto& all = static_cast<thread_team*>(self)->contexts;
          std::vector<std::thread> threads;
          for (std::size_t id = 0; id < all.size(); ++id)
            threads.emplace_back([=, &all] {
              for (auto i = static_cast<index_t>(id); i < count; i += static_cast<index_t>(all.size()))
                f(arg, i, *all[id]);
            });
          for (auto& t : threads) t.join();
        }} {
    for (std::size_t i = 0; i < n; ++i) contexts.push_back(std::make_unique<context>());
  }
};

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 64 == 0; }

}  // namespace

TEST_CASE("scratch is aligned and rows do not overlap") {
  context ctx(4096);
  context::frame scratch(ctx);
  std::vector<row_view<float>> rows;
  for (index_t n : {1, 17, 16, 0, 5, 33}) {
    rows.push_back(scratch.row<float>(n));
    CHECK(rows.back().size() == n);
    CHECK(aligned(rows.back().data()));
    std::fill(rows.back().begin(), rows.back().end(), static_cast<float>(n));
  }
  for (const auto& r : rows)
    for (float x : r) CHECK(x == static_cast<float>(r.size()));
  const auto m = scratch.mat<double>(3, 5);
  CHECK(m.rows() == 3);
  CHECK(m.stride() == 5);
  CHECK(aligned(m.data()));
}

TEST_CASE("frames nest and release what they handed out") {
  context ctx(4096);
  const float* first = nullptr;
  {
    context::frame outer(ctx);
    const auto a = outer.row<float>(10);
    first = a.data();
    a[0] = 1;
    const float* inner_row = nullptr;
    {
      context::frame inner(ctx);
      const auto b = inner.row<float>(10);
      CHECK(b.data() != a.data());
      b[0] = 2;
      inner_row = b.data();
    }
    CHECK(outer.row<float>(10).data() == inner_row);  // what the inner frame had is free again
    CHECK(a[0] == 1);
  }
  context::frame again(ctx);
  CHECK(again.row<float>(10).data() == first);
}

TEST_CASE("growing within a frame moves nothing that was handed out") {
  context ctx(256);
  std::vector<row_view<int>> rows;
  {
    context::frame scratch(ctx);
    for (int i = 0; i < 50; ++i) {
      rows.push_back(scratch.row<int>(100 + i));
      std::iota(rows.back().begin(), rows.back().end(), i);
      CHECK(aligned(rows.back().data()));
    }
    for (int i = 0; i < 50; ++i)
      for (index_t k = 0; k < 100 + i; ++k) REQUIRE(rows[static_cast<std::size_t>(i)][k] == i + k);
  }
  CHECK(ctx.scratch_bytes() >= 50 * 100 * sizeof(int));
}

TEST_CASE("after one pass the same work takes no further scratch") {
  context ctx(64);
  const auto work = [&] {
    context::frame outer(ctx);
    const auto a = outer.row<float>(300);
    std::fill(a.begin(), a.end(), 1.0f);
    for (index_t n : {700, 20, 5000}) {
      context::frame inner(ctx);
      const auto b = inner.mat<double>(n, 3);
      b[n - 1][2] = 4;
      context::frame innermost(ctx);
      innermost.row<char>(n)[0] = 'x';
    }
    return a.data();
  };
  work();
  const std::size_t held = ctx.scratch_bytes();
  const float* at = work();
  for (int i = 0; i < 3; ++i) {
    CHECK(work() == at);
    CHECK(ctx.scratch_bytes() == held);
  }
}

TEST_CASE("frames that grow in several levels fall back to one block") {
  context ctx(64);
  {
    context::frame outer(ctx);
    outer.row<char>(60);
    {
      context::frame inner(ctx);
      inner.row<char>(5000);
      inner.row<char>(50000);
    }
    const auto after = outer.row<char>(4000);  // reuses the chained blocks
    after[3999] = 'y';
  }
  const std::size_t held = ctx.scratch_bytes();
  context::frame whole(ctx);
  whole.row<char>(static_cast<index_t>(held));
  CHECK(ctx.scratch_bytes() == held);
}

TEST_CASE("parallel_for without threads is a loop on the caller") {
  context ctx;
  std::vector<index_t> seen;
  ctx.parallel_for(4, [&](index_t i, context& worker) {
    CHECK(&worker == &ctx);
    seen.push_back(i);
  });
  CHECK(seen == std::vector<index_t>{0, 1, 2, 3});
  ctx.parallel_for(0, [&](index_t, context&) { FAIL("nothing to do"); });
}

TEST_CASE("parallel_for over threads runs every index once, each thread on its own scratch") {
  thread_team team(3);
  context ctx;
  ctx.threads = &team;
  for (index_t n : {0, 1, 2, 3, 100}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
    std::atomic<int> wrong{0};
    ctx.parallel_for(n, [&](index_t i, context& worker) {
      context::frame scratch(worker);
      const auto mine = scratch.row<index_t>(1000);
      std::fill(mine.begin(), mine.end(), i);
      ++runs[static_cast<std::size_t>(i)];
      for (index_t x : mine) wrong += x != i;
    });
    for (const auto& r : runs) CHECK(r == 1);
    CHECK(wrong == 0);
  }
}

TEST_CASE("a const body runs in parallel too") {
  thread_team team(2);
  context ctx;
  ctx.threads = &team;
  std::atomic<index_t> sum{0};
  const auto add = [&sum](index_t i, context&) { sum += i; };
  ctx.parallel_for(10, add);
  CHECK(sum == 45);
}
