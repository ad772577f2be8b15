// SPDX-License-Identifier: Apache-2.0
#include "plot.hpp"

#include <cstdio>
#include <sstream>
#include <stdexcept>

namespace plot {
namespace {

std::string quoted(const std::string& text) {  // for gnuplot: '' is a quote
  std::string s = "'";
  for (const char c : text) s += c == '\'' ? "''" : std::string(1, c);
  return s + "'";
}

std::string script_of(const std::string& path, const std::vector<panel>& panels) {
  std::ostringstream s;
  s.precision(12);
  s << "set terminal svg size " << 520 * panels.size() << ",400 noenhanced background 'white'\nset output "
    << quoted(path) << "\nset multiplot layout 1," << panels.size() << "\nset grid\nset key below\n";
  int block = 0;
  for (const panel& p : panels) {
    std::string plots;
    for (const series& l : p.lines) {
      const std::string data = "$data" + std::to_string(block++);
      s << data << " << EOD\n";
      for (const auto& [x, y] : l.points) s << x << ' ' << y << '\n';
      s << "EOD\n";
      const bool mark = l.points.size() == 1;
      plots += (plots.empty() ? "plot " : ", ") + data +
               (mark ? " with points pt 7 title " : " with lines lw 2 title ") + quoted(l.name);
    }
    s << "set title " << quoted(p.title) << "\nset xlabel " << quoted(p.x_label) << "\nset ylabel "
      << quoted(p.y_label)
      << (p.log_y ? "\nunset offsets\nset logscale y\n"
                  : "\nunset logscale y\nset offsets graph 0.05, 0.05, 0.05, 0.05\n")
      << plots << '\n';
  }
  return s.str();
}

}  // namespace

void write_svg(const std::string& path, const std::vector<panel>& panels) {
  const std::string script = script_of(path, panels);
  std::FILE* gnuplot = popen("gnuplot >/dev/null", "w");
  const bool written = gnuplot && std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
  if (!gnuplot || pclose(gnuplot) != 0 || !written)
    throw std::runtime_error(path + ": cannot be drawn: gnuplot is missing (Debian: gnuplot-nox) or failed");
}

}  // namespace plot
