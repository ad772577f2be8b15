// SPDX-License-Identifier: Apache-2.0
// An executor that is legal and unpleasant: last index first, on a context of its own.
#pragma once
#include <mneme/core/scan.hpp>

#include "matrix.hpp"

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

// Whether threads change a bit of the last `outs` of so many outputs, or of the state.
template <class M>
bool threads_change_bits(const M& m, index_t rows, index_t outs) {
  using T = mneme::scalar_t<M>;
  const auto X = random_rows<T>(rows, m.d_in(), 0, 1);
  matrix<T> serial(outs, m.d_out()), parallel = serial;
  context ctx, reversed;
  reverse_executor threads;
  reversed.threads = &threads;
  auto s = m.init(), t = s;
  mneme::scan(m, ctx, s, X, serial.view());
  mneme::scan(m, reversed, t, X, parallel.view());
  return !(serial == parallel && s == t);
}

}  // namespace mneme_test
