// SPDX-License-Identifier: Apache-2.0
// An executor over OpenMP threads. Include it only where -fopenmp is on.
#pragma once
#include "../core/context.hpp"

#include <memory>
#include <vector>

#if !defined(_OPENMP)
#error "mneme/backend/openmp.hpp needs OpenMP (-fopenmp)"
#endif
#include <omp.h>

namespace mneme::inline MNEME_ABI {

//   openmp_executor threads(4);   context ctx;   ctx.threads = &threads;
// The calling thread works on its own context, every other thread on one that is kept here between calls.
// Serves one calling thread at a time.
class openmp_executor : public executor {
 public:
  explicit openmp_executor(int threads) : executor{&run_on} {
    for (int i = 1; i < threads; ++i) workers_.push_back(std::make_unique<context>());
  }
  int size() const { return static_cast<int>(workers_.size()) + 1; }

 private:
  static void run_on(executor* self, index_t n, body f, void* arg, context& caller) {
    auto& workers = static_cast<openmp_executor*>(self)->workers_;
    const int threads = static_cast<int>(workers.size()) + 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (index_t i = 0; i < n; ++i) {
      const int id = omp_get_thread_num();
      f(arg, i, id == 0 ? caller : *workers[static_cast<std::size_t>(id - 1)]);
    }
  }
  std::vector<std::unique_ptr<context>> workers_;
};

}  // namespace mneme::inline MNEME_ABI
