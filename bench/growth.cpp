// SPDX-License-Identifier: Apache-2.0
// growth/<memory>/T/<n>: one more token after n, and the bytes that those have left behind. One thread.
#include <benchmark/benchmark.h>
#include <mneme/core/scan.hpp>
#include <mneme/evict/window.hpp>
#include <mneme/memory/gla.hpp>
#include <mneme/memory/kv_attention.hpp>
#include <mneme/memory/selective_ssm.hpp>

#include <map>

#include "case.hpp"

namespace bench {
namespace {

constexpr index_t shortest = 1 << 7, longest = 1 << 18, d_model = 256, heads = 4, window = 1024;
// Pasts up to this length are put back before they have grown by a sixteenth. Longer ones cannot grow by that
// much while they are measured, and a copy of the longest cache would take half a gigabyte.
constexpr index_t put_back = 1 << 14;

// A memory and its states after 2^7, 2^8, ... 2^18 tokens.
template <class M>
class history {
 public:
  explicit history(const typename M::config& c)
      : memory_(c, 1), X_(512, memory_.d_in(), 2), y_(1, memory_.d_out(), 3) {
    mneme::state_t<M> s = memory_.init();
    index_t read = 0;
    for (index_t T = shortest; T <= longest; T *= 2) {
      for (; read < T; read += shortest) {
        const index_t row = read % X_.rows();
        mneme::observe(memory_, with_threads(1), s, X_.view().range(row, row + shortest));
        show_progress("growth: pasts up to 2^18 tokens");
      }
      mneme::reserve(memory_, states_[T] = s, room(T));
    }
  }

  // The state after T tokens, with room for some more. The next call may change it.
  mneme::state_t<M>& after(index_t T) {
    if (T > put_back) return states_.at(T);
    mneme::reserve(memory_, now_ = states_.at(T), room(T));
    return now_;
  }
  static index_t room(index_t T) { return T / 16; }
  void step(mneme::state_t<M>& s, index_t t) {
    mneme::step(memory_, with_threads(1), s, X_.view()[t % X_.rows()], y_[0]);
  }

 private:
  M memory_;
  matrix X_, y_;
  std::map<index_t, mneme::state_t<M>> states_;
  mneme::state_t<M> now_ = memory_.init();
};

template <class M>
void measure(benchmark::State& timed, const typename M::config& c, index_t T) {
  static history<M> past(c);
  mneme::state_t<M>* s = &past.after(T);
  const auto bytes = static_cast<double>(mneme::footprint(*s).owned);
  show_progress("growth/" + std::to_string(T));
  index_t t = 0;
  for (auto _ : timed) {
    if (++t % past.room(T) == 0 && T <= put_back) {
      timed.PauseTiming();
      s = &past.after(T);
      timed.ResumeTiming();
    }
    past.step(*s, t);
  }
  timed.counters["tokens"] = 1;
  timed.counters["state_bytes"] = bytes;
}

template <class M>
void add_growth(const std::string& name, const typename M::config& c) {
  for (index_t T = shortest; T <= longest; T *= 2)
    benchmark::RegisterBenchmark(("growth/" + name + "/T/" + std::to_string(T) + "/threads:1/kernel").c_str(),
                                 [=](benchmark::State& timed) { measure<M>(timed, c, T); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
}
const suite all([] {
  using mneme::kv_attention;
  add_growth<kv_attention<float>>("full attention", {.d_model = d_model, .heads = heads});
  add_growth<kv_attention<float, mneme::evict::window>>(
      "window of " + std::to_string(window), {.d_model = d_model, .heads = heads, .capacity = window});
  add_growth<mneme::selective_ssm<float>>("selective_ssm", {.d_model = d_model});
  add_growth<mneme::gla<float>>("gla", {.d_model = d_model, .heads = heads});
});

}  // namespace
}  // namespace bench
