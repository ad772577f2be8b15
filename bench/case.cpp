// SPDX-License-Identifier: Apache-2.0
#include "case.hpp"

#include <benchmark/benchmark.h>
#include <unistd.h>
#include <mneme/backend/thread_pool.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>

#include "limits.hpp"

namespace bench {
namespace {

constexpr int slow_repetitions = 3;     // of the reference
constexpr index_t most_warm_ups = 100;  // calls

const std::vector<float>& random_pool() {
  static const std::vector<float> pool = [] {
    std::vector<float> p(65521);  // a prime: no two rows begin alike
    std::uint32_t s = 12345;
    for (float& x : p) {
      s = s * 1664525u + 1013904223u;
      x = static_cast<float>(s >> 8) * 0x1p-24f;
    }
    return p;
  }();
  return pool;
}

struct mode {
  std::string name;
  index_t tokens, states;
};

// What differs between a contender and the reference; empty if nothing does.
std::string disagreement(const task& t, const mode& m, const contender& who) {
  const contender* reference = nullptr;
  for (const contender& c : t.contenders)
    if (c.name == "reference") reference = &c;
  if (!reference || reference->name == who.name) return {};
  const index_t checked = std::min(m.tokens, t.modes.checked), rounds = m.tokens == 1 ? 3 : 1;
  const auto given = t.make(m.tokens, 1), expected = t.make(checked, 1);
  for (index_t i = 0; i < rounds; ++i) {  // later rounds see the state that the first has written
    who.call(given.get(), with_threads(1), 0);
    reference->call(expected.get(), with_threads(1), 0);
  }
  const auto y = t.output(given.get()), z = t.output(expected.get());
  double largest = 0, error = 0;
  for (index_t r = 0; r < z.rows(); ++r)
    for (index_t c = 0; c < z.cols(); ++c) {
      const double expected_value = z[r][c], off = std::abs(expected_value - y[r][c]);
      largest = std::max(largest, std::abs(expected_value));
      error = off <= error || std::isnan(error) ? error : off;  // a NaN stays
    }
  if (largest > 0 && error <= t.modes.tolerance * largest) return {};
  std::ostringstream text;
  text << "off by " << error << ", the largest output is " << largest;
  return text.str();
}
const std::string& checked(const task& t, const mode& m, const contender& who) {
  static std::map<std::string, std::string> found;
  const auto [at, is_new] = found.try_emplace(t.name + "/" + m.name + "/" + who.name, "not checked");
  if (is_new) at->second = disagreement(t, m, who);
  return at->second;
}

// Kept: repetitions come in random order, and drawing operands takes longer than a measurement.
void* problem_of(const task& t, const mode& m) {
  static std::map<std::string, std::shared_ptr<void>> made;
  auto& problem = made[t.name + "/" + m.name];
  if (!problem) problem = t.make(m.tokens, m.states);
  return problem.get();
}

void measure(benchmark::State& state, const task& t, const mode& m, int threads, const contender& who) {
  if (const std::string& error = checked(t, m, who); !error.empty()) {
    state.SkipWithError(error.c_str());
    return;
  }
  show_progress(t.name + "/" + m.name);
  void* const problem = problem_of(t, m);
  context& ctx = with_threads(threads);
  if (who.name != "reference")  // warms up caches, scratch, threads
    for (index_t i = 0; i < std::min(m.states, most_warm_ups); ++i) who.call(problem, ctx, i);
  index_t i = 0;
  for (auto _ : state) {
    who.call(problem, ctx, i);
    benchmark::ClobberMemory();
    if (++i == m.states) i = 0;
  }
  benchmark::DoNotOptimize(t.output(problem).data());

  const work w = t.cost(m.tokens);
  count(state, w, static_cast<double>(m.states) * t.state_bytes + w.rows, threads);
  state.counters["tokens"] = static_cast<double>(m.tokens);
}

std::vector<void (*)()>& suites() {
  static std::vector<void (*)()> all;
  return all;
}

}  // namespace

matrix::matrix(index_t rows, index_t cols, unsigned seed, double low, double high)
    : values_(rows * cols), cols_(cols) {
  const std::vector<float>& pool = random_pool();
  const auto size = static_cast<index_t>(pool.size());
  const auto from = static_cast<float>(low), range = static_cast<float>(high - low);
  float* x = values_.data();
  index_t at = static_cast<index_t>(seed) * 7919 % size;
  for (index_t left = values_.size(); left > 0;) {
    const index_t n = std::min(left, size - at);
    for (index_t i = 0; i < n; ++i) x[i] = from + range * pool[static_cast<std::size_t>(at + i)];
    x += n, left -= n, at = 0;
  }
}
void matrix::normalise(index_t width) {
  for (float* x = values_.begin(); x < values_.end(); x += width) {
    double squares = 0;
    for (index_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (index_t i = 0; i < width; ++i) x[i] = static_cast<float>(x[i] / std::sqrt(squares));
  }
}

context& with_threads(int threads) {
  static context serial, both;
  static mneme::thread_pool pair(2);
  both.threads = &pair;
  return threads == 1 ? serial : both;
}

void count(benchmark::State& timed, const work& w, double footprint, int threads) {
  timed.counters["fmas"] = w.fmas;
  timed.counters["exps"] = w.exps;
  timed.counters["read"] = w.read + w.rows;
  timed.counters["updated"] = w.updated;
  timed.counters["level"] = static_cast<double>(level_of(footprint, threads));
}

void show_progress(const std::string& doing) {
  using clock = std::chrono::steady_clock;
  static const bool terminal = isatty(2) == 1;
  static const clock::time_point start = clock::now();
  static clock::time_point shown = start;
  static const struct line {
    ~line() {
      if (terminal) std::fputs("\r\033[K", stderr);
    }
  } cleared_at_exit;
  const clock::time_point now = clock::now();
  if (now - shown < (terminal ? std::chrono::milliseconds(200) : std::chrono::seconds(10))) return;
  shown = now;
  std::fprintf(stderr, "%s%.0f s: %s%s", terminal ? "\r\033[K" : "",
               std::chrono::duration<double>(now - start).count(), doing.c_str(), terminal ? "" : "\n");
}

void add(task t) {
  const auto shared = std::make_shared<const task>(std::move(t));
  const plan& p = shared->modes;
  std::vector<mode> modes;
  if (p.hot) modes.push_back({"decode/hot", 1, 1});
  if (p.cold) modes.push_back({"decode/cold", 1, std::lround(std::ceil(cold_bytes() / shared->state_bytes))});
  if (p.prefill > 0) modes.push_back({"prefill/" + std::to_string(p.prefill), p.prefill, 1});
  for (const mode& m : modes)
    for (const contender& who : shared->contenders) {
      const bool ours = &who == &shared->contenders.front();
      if (!ours && (m.tokens > 1 ? !p.prefill_by_all : &m != &modes.front())) continue;
      for (int threads = 1; threads <= (ours ? p.threads : 1); ++threads) {
        const std::string name =
            shared->name + "/" + m.name + "/threads:" + std::to_string(threads) + "/" + who.name;
        auto* registered =
            benchmark::RegisterBenchmark(name.c_str(), [shared, m, threads, &who](benchmark::State& state) {
              measure(state, *shared, m, threads, who);
            });
        registered->UseRealTime()->Unit(benchmark::kMicrosecond);
        if (who.name == "reference") registered->Repetitions(slow_repetitions);
      }
    }
}

suite::suite(void (*registers)()) { suites().push_back(registers); }
void register_all() {
  for (const auto registers : suites()) registers();
}

}  // namespace bench
