// SPDX-License-Identifier: Apache-2.0
// How mneme-stream shows its results: a table, a JSON file, a progress line.
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "runs.hpp"

namespace mneme_stream {

void print_table(const std::vector<run_result>& runs);

// {"model", "text", "runs": [...]}; throws std::runtime_error if the file cannot be written.
void write_json(const std::string& path, const std::string& model, const std::string& text,
                const std::vector<run_result>& runs);

// Running nll and state bytes against position, and quality against bytes; throws std::runtime_error if it
// cannot be drawn.
void draw(const std::string& path, const std::vector<run_result>& runs);

// One line on stderr: rewritten in place on a terminal, a line every ten seconds elsewhere.
class progress_line {
 public:
  progress_line(std::string label, index_t total);
  ~progress_line();
  void operator()(index_t done);

 private:
  using clock = std::chrono::steady_clock;
  std::string label_;
  index_t total_, first_ = -1;
  clock::time_point start_, printed_;
  bool terminal_;
};

}  // namespace mneme_stream
