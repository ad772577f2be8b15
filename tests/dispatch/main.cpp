// SPDX-License-Identifier: Apache-2.0
// Lists the instruction sets of this program and runs a model through every table that this processor runs;
// their answers agree, and the one is taken that is asked for.
#include "model.hpp"

#include "laws/tolerance.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace {

using numbers = std::vector<float>;
using table = mneme::function_table<dispatch_model>;

constexpr std::ptrdiff_t tokens = 40, scanned = 25;

int failures = 0;
void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

numbers inputs() {
  numbers x(tokens * model_width);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.7f * static_cast<float>(i));
  return x;
}
// Outputs of a text, the second part of it token by token, on a stream that moved from `first` to `second`
// as a file.
numbers answers(const table& first, const table& second) {
  const numbers x = inputs();
  numbers y(x.size());
  void* a = first->create();
  first->scan(a, x.data(), scanned, y.data());
  std::vector<std::byte> file(first->save(a, nullptr, 0));
  expect(first->save(a, file.data(), file.size()) == file.size(), "a state saves as it said");
  first->destroy(a);
  void* b = second->create();
  expect(second->load(b, file.data(), file.size()), std::string(second.set) + " loads " + first.set);
  for (auto at = scanned * model_width; at < tokens * model_width; at += model_width)
    second->step(b, x.data() + at, y.data() + at);
  second->destroy(b);
  return y;
}
double magnitude(const numbers& y) {
  double most = 0;
  for (const float v : y) most = std::max(most, std::abs(static_cast<double>(v)));
  return most;
}
double difference(numbers a, const numbers& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = std::isfinite(a[i]) ? a[i] - b[i] : INFINITY;
  return magnitude(a);
}

// By features one by one, not by the names of levels.
const char* widest() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "x86-64-v4";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return "x86-64-v3";
  return "x86-64";
#else
  return "base";
#endif
}

void run_every_table() {
  const auto tables = dispatch_model_tables.supported();
  const numbers plain = answers(tables.front(), tables.front());
  const double allowed =
      mneme_test::tolerance{.eps = mneme_test::epsilon<float>, .rows = tokens, .width = model_width}.of(
          magnitude(plain));
  std::printf("%-11s %-22s difference from %s (allowed: %.2g)\n", "set", "packs", tables.front().set,
              allowed);
  for (const auto& t : tables) {
    const double alone = difference(answers(t, t), plain),
                 moved = difference(answers(tables.front(), t), plain);
    std::printf("%-11s %-22s %.2g, and %.2g with a state of %s\n", t.set, t->packs(), alone, moved,
                tables.front().set);
    expect(std::max(alone, moved) <= allowed, std::string(t.set) + " differs");
    const float x = tables.front()->untagged(0.5f);
    expect(std::abs(t->untagged(0.5f) - x) <= 1e-6f * x, std::string(t.set) + " untagged differs");
  }
}

bool says(const mneme::error& e, const char* what) { return e.message().find(what) != std::string::npos; }

void choose() {
  const auto& tables = dispatch_model_tables;
  expect(std::string(tables.best(nullptr)->set) == widest(), std::string("the best is ") + widest());
  expect(std::string(tables.best("")->set) == widest(), "an empty name forces nothing");
  for (const auto& t : tables.supported()) {
    setenv("MNEME_INSTRUCTION_SET", t.set, 1);
    const auto forced = tables.best();
    expect(forced && forced->functions == t.functions, std::string(t.set) + " is taken when forced");
  }
  setenv("MNEME_INSTRUCTION_SET", "x86-64-v9", 1);
  const auto unknown = tables.best();
  unsetenv("MNEME_INSTRUCTION_SET");
  expect(!unknown && says(unknown.error(), "is not in this program"), "an unknown set is an error");

  // A program that has a set which no processor has.
  static constexpr mneme_function_table future = {"x86-64-v9", nullptr};
  const mneme_function_table* const list[] = {dispatch_model_table_list[0], &future, nullptr};
  const mneme::function_tables<dispatch_model> with_future(list), only_future(list + 1);
  expect(with_future.best(nullptr)->functions == tables.supported().front().functions,
         "the future is not taken");
  const auto beyond = with_future.best("x86-64-v9");
  expect(!beyond && says(beyond.error(), "is beyond this processor"), "an unsupported set is an error");
  expect(!only_future.best(nullptr), "no table for this processor is an error");
}

}  // namespace

int main() {
  run_every_table();
  choose();
  std::printf("best: %s\n", dispatch_model_tables.best(nullptr)->set);
  return failures == 0 ? 0 : 1;
}
