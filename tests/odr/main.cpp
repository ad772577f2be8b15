// SPDX-License-Identifier: Apache-2.0
// Runs the units that this machine can run; their answers agree.
#include "units.hpp"

#include <cmath>
#include <cstdio>

int main() {
  const float base = run_base(0.25f);
  int failures = 0;
  const auto compare = [&](const char* name, float got) {
    const bool good = std::abs(got - base) <= 1e-5f * std::abs(base);
    std::printf("%s: %.9g, base: %.9g%s\n", name, static_cast<double>(got), static_cast<double>(base),
                good ? "" : "  differ");
    failures += good ? 0 : 1;
  };
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) compare("avx2", run_avx2(0.25f));
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    compare("avx512", run_avx512(0.25f));
    compare("files", files_avx512(base));
  }
  return failures;
}
