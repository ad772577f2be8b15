// SPDX-License-Identifier: Apache-2.0
// mneme-bench: the benchmarks, and what they ran on. run.sh adds the commit.
#include <benchmark/benchmark.h>
#include <mneme/math/simd.hpp>
#include <mneme/version.hpp>

#include <fstream>
#include <iostream>

#include "case.hpp"

namespace {
std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (const auto colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2);
  return "unknown";
}
}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  namespace simd = mneme::simd;
  benchmark::AddCustomContext("cpu", processor());
#if defined(__clang__)
  benchmark::AddCustomContext("compiler", __VERSION__);
#else
  benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
  benchmark::AddCustomContext("mneme", MNEME_VERSION_STRING);
  benchmark::AddCustomContext("float32 lanes", std::to_string(simd::width<simd::pack<float, simd::native>>));
  bench::register_all();
  benchmark::BenchmarkReporter* const display = benchmark::CreateDefaultDisplayReporter();
  display->SetErrorStream(&std::cout);  // stderr is for progress
  benchmark::RunSpecifiedBenchmarks(display);
  benchmark::Shutdown();
}
