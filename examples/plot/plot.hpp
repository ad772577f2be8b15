// SPDX-License-Identifier: Apache-2.0
// Pictures for the examples, drawn by gnuplot.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace plot {

struct series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};
struct panel {
  std::string title, x_label, y_label;
  std::vector<series> lines;  // one point alone is drawn as a mark with its name beside it
  bool log_y = false;
};

// Panels side by side in an SVG file. Throws std::runtime_error if gnuplot is missing or fails.
void write_svg(const std::string& path, const std::vector<panel>& panels);

}  // namespace plot
