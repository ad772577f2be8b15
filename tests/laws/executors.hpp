// SPDX-License-Identifier: Apache-2.0
// An executor that is legal and unpleasant: last index first, on a context of its own.
#pragma once
#include <mneme/core/context.hpp>

namespace mneme_test {

struct reverse_executor : mneme::executor {
  mneme::context worker;
  reverse_executor() : executor{&run_reversed} {}

 private:
  static void run_reversed(mneme::executor* self, mneme::index_t n, body f, void* arg, mneme::context&) {
    auto& worker = static_cast<reverse_executor*>(self)->worker;
    for (mneme::index_t i = n; i-- > 0;) f(arg, i, worker);
  }
};

}  // namespace mneme_test
