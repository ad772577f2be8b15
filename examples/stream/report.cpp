// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "plot/plot.hpp"

namespace mneme_stream {
namespace {

std::string grouped(std::size_t n) {  // 1234567 -> 1,234,567
  std::string s = std::to_string(n);
  for (auto i = static_cast<std::ptrdiff_t>(s.size()) - 3; i > 0; i -= 3)
    s.insert(static_cast<std::size_t>(i), 1, ',');
  return s;
}
std::string fixed(double x, int digits) {
  char s[64];
  std::snprintf(s, sizeof s, "%.*f", digits, x);
  return s;
}
std::string rate_text(double tokens_per_s) { return tokens_per_s > 0 ? fixed(tokens_per_s, 1) : "-"; }

}  // namespace

void print_table(const std::vector<run_result>& runs) {
  std::printf("%-8s %-6s %9s %7s %10s %11s %9s %13s %13s %12s %9s\n", "policy", "store", "capacity", "tokens",
              "nats/token", "perplexity", "vs full", "state bytes", "prefill tok/s", "decode tok/s",
              "ms/token");
  for (const run_result& r : runs) {
    const std::string delta = r.delta_nll ? (*r.delta_nll < 0 ? "" : "+") + fixed(*r.delta_nll, 4) : "-";
    const std::string pace = r.decode_tokens_per_s > 0 ? fixed(1000 / r.decode_tokens_per_s, 2) : "-";
    std::printf("%-8s %-6s %9s %7td %10.4f %11.3f %9s %13s %13s %12s %9s\n", r.policy.c_str(),
                r.store.c_str(), r.capacity > 0 ? std::to_string(r.capacity).c_str() : "-", r.tokens, r.nll,
                std::exp(r.nll), delta.c_str(), grouped(r.state_bytes).c_str(),
                rate_text(r.prefill_tokens_per_s).c_str(), rate_text(r.decode_tokens_per_s).c_str(),
                pace.c_str());
  }
}

void write_json(const std::string& path, const std::string& model, const std::string& text,
                const std::vector<run_result>& runs) {
  nlohmann::ordered_json root{{"model", model}, {"text", text}, {"runs", nlohmann::ordered_json::array()}};
  for (const run_result& r : runs) {
    nlohmann::ordered_json run{{"policy", r.policy},
                               {"store", r.store},
                               {"capacity", r.capacity},
                               {"tokens", r.tokens},
                               {"nll", r.nll},
                               {"perplexity", std::exp(r.nll)},
                               {"delta_nll", nullptr},
                               {"state_bytes", r.state_bytes},
                               {"prefill_tokens_per_s", r.prefill_tokens_per_s},
                               {"decode_tokens_per_s", r.decode_tokens_per_s}};
    if (r.delta_nll) run["delta_nll"] = *r.delta_nll;
    root["runs"].push_back(std::move(run));
  }
  std::ofstream out(path);
  out << root.dump(2) << '\n';
  if (!out.flush()) throw std::runtime_error(path + ": cannot be written");
}

void draw(const std::string& path, const std::vector<run_result>& runs) {
  plot::panel quality{"Quality so far", "tokens", "nats per token", {}},
      bytes{"State", "tokens", "KiB", {}, true},
      frontier{"Quality against bytes", "state, KiB", "nats per token", {}};
  for (const run_result& r : runs) {
    const std::string name =
        r.policy + " " + r.store + (r.capacity > 0 ? " " + std::to_string(r.capacity) : "");
    plot::series nll{name, {}}, size{name, {}};
    for (const trace_point& t : r.trace) {
      nll.points.emplace_back(t.fed, t.nll);
      size.points.emplace_back(t.fed, static_cast<double>(t.state_bytes) / 1024);
    }
    quality.lines.push_back(std::move(nll));
    bytes.lines.push_back(std::move(size));
    frontier.lines.push_back({name, {{static_cast<double>(r.state_bytes) / 1024, r.nll}}});
  }
  plot::write_svg(path, {quality, bytes, frontier});
}

progress_line::progress_line(std::string label, index_t total)
    : label_(std::move(label)),
      total_(total),
      start_(clock::now()),
      printed_(start_),
      terminal_(isatty(2) == 1) {}

progress_line::~progress_line() {
  if (terminal_) std::fprintf(stderr, "\r\033[K");
}

void progress_line::operator()(index_t done) {
  if (first_ < 0) first_ = done;
  const auto pause = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (clock::now() - printed_ < pause) return;
  printed_ = clock::now();
  const double seconds = std::chrono::duration<double>(printed_ - start_).count();
  const double pace = done > first_ ? static_cast<double>(done - first_) / seconds : 0;
  std::fprintf(stderr, "%s%s: %td of %td tokens, %.0f tokens/s, %.0f s left%s", terminal_ ? "\r\033[K" : "",
               label_.c_str(), done, total_, pace, pace > 0 ? static_cast<double>(total_ - done) / pace : 0.0,
               terminal_ ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace mneme_stream
