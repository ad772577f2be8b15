// SPDX-License-Identifier: Apache-2.0
// The limits of this machine as benchmarks like the others: limit/fma, limit/exp, limit/read/<level> and
// limit/update/<level>, each /threads:<n>. They run in between the cases that are held against them.
#include "limits.hpp"

#include <benchmark/benchmark.h>
#include <mneme/math/vector.hpp>

#include <algorithm>

#include "case.hpp"

namespace bench {
namespace {

using mneme::unrolled;
namespace simd = mneme::simd;
using pack = simd::pack<float, simd::native>;
constexpr index_t width = simd::width<pack>;

// The sum of N packs. Unrolled like the loops below: an array indexed by a variable would live in memory.
template <int N>
pack total(const pack* x) {
  pack sum = x[0];
  unrolled<N - 1>([&](auto n) { sum = sum + x[n + 1]; });
  return sum;
}

constexpr int chains = 8;  // of multiply-adds: enough to hide their latency
void fma_chain(index_t rounds) {
  pack sum[chains], x(0.999f), y(1e-3f);
  benchmark::DoNotOptimize(x);
  benchmark::DoNotOptimize(y);
  const pack a = x, b = y;
  unrolled<chains>([&](auto n) { sum[n] = pack(static_cast<float>(n)); });
  for (index_t r = 0; r < rounds; ++r) unrolled<chains>([&](auto n) { sum[n] = simd::fma(sum[n], a, b); });
  pack result = total<chains>(sum);
  benchmark::DoNotOptimize(result);
}

void exps(row_view<float> x, row_view<float> y) {
  mneme::map_row<simd::native>(x.size(), x.data(), y.data(), []<class P>(P v) { return mneme::exp(v); });
}

constexpr int streams = 8;  // packs at once
void read(row_view<float> x, row_view<float>) {
  pack sum[streams];
  unrolled<streams>([&](auto n) { sum[n] = pack(0.0f); });
  for (index_t i = 0; i + streams * width <= x.size(); i += streams * width)
    unrolled<streams>([&](auto n) { sum[n] = sum[n] + simd::load<pack>(x.data() + i + n * width); });
  pack result = total<streams>(sum);
  benchmark::DoNotOptimize(result);
}
void update(row_view<float> x, row_view<float>) {
  const pack a(0.999f), b(1e-3f);
  for (index_t i = 0; i + streams * width <= x.size(); i += streams * width)
    unrolled<streams>([&](auto n) {
      float* const at = x.data() + i + n * width;
      simd::store(at, simd::fma(simd::load<pack>(at), a, b));
    });
}

struct limit {
  std::string name;
  double floats;                                       // of a row of each thread
  void (*call)(row_view<float> x, row_view<float> y);  // goes through them once
  work of_one;                                         // what a call does for each float
};

void measure(benchmark::State& state, const limit& l, int threads) {
  constexpr index_t piece = streams * width;
  const index_t size = static_cast<index_t>(l.floats) / piece * piece;
  matrix x(threads, size, 1), y(threads, l.of_one.exps > 0 ? size : 1, 2);
  // Short calls are repeated within a thread: what waking a thread takes is no limit of the machine.
  const index_t repeats = std::max<index_t>(1, (index_t{1} << 22) / size);
  context& ctx = with_threads(threads);
  const auto all = [&] {
    ctx.parallel_for(threads, [&](index_t t, context&) {
      for (index_t r = 0; r < repeats; ++r) {
        l.call(x[t], y[t]);
        benchmark::ClobberMemory();
      }
    });
  };
  all();
  show_progress("limit/" + l.name);
  for (auto _ : state) all();
  const auto floats = static_cast<double>(size * repeats * threads);
  state.counters["fmas"] = floats * l.of_one.fmas;
  state.counters["exps"] = floats * l.of_one.exps;
  state.counters["read"] = floats * l.of_one.read;
  state.counters["updated"] = floats * l.of_one.updated;
}

void add(const limit& l, int threads) {
  const std::string name = "limit/" + l.name + "/threads:" + std::to_string(threads);
  auto* registered = benchmark::RegisterBenchmark(
      name.c_str(), [l, threads](benchmark::State& state) { measure(state, l, threads); });
  registered->UseRealTime()->Unit(benchmark::kMicrosecond);
}

const suite all([] {
  const auto multiply_add = [](row_view<float> x, row_view<float>) { fma_chain(x.size() / width); };
  const double of_dram = std::clamp(4 * machine().l3, 0x1p28, 0x1p29);
  for (int threads = 1; threads <= 2; ++threads) {
    add({"fma", 1 << 16, multiply_add, {.fmas = chains}}, threads);
    add({"exp", machine().l1 / 4 / 4, exps, {.exps = 1}}, threads);
    const std::pair<std::string, double> levels[] = {{"L1", machine().l1 * 0.75},
                                                     {"L2", machine().l2 * 0.75},
                                                     {"L3", cold_bytes() / threads},
                                                     {"DRAM", of_dram / threads}};
    for (const auto& [level, bytes] : levels) {
      add({"read/" + level, bytes / 4, read, {.read = 4}}, threads);
      add({"update/" + level, bytes / 4, update, {.updated = 4}}, threads);
    }
  }
});

}  // namespace

const caches& machine() {
  static const caches found = [] {
    caches c{32e3, 1e6, 32e6};  // where the system does not tell
    for (const auto& cache : benchmark::CPUInfo::Get().caches) {
      if (cache.type == "Instruction") continue;
      (cache.level == 1 ? c.l1 : cache.level == 2 ? c.l2 : c.l3) = cache.size;
    }
    return c;
  }();
  return found;
}

double cold_bytes() { return std::max(4 * machine().l2, std::min(16 * machine().l2, machine().l3 / 2)); }

level level_of(double footprint, int threads) {
  constexpr double doubt = 1.25;
  if (footprint <= doubt * machine().l1 * threads) return level::l1;
  if (footprint <= doubt * machine().l2 * threads) return level::l2;
  return footprint <= machine().l3 ? level::l3 : level::dram;  // shared with whatever else runs: no doubt
}

}  // namespace bench
