// SPDX-License-Identifier: Apache-2.0
#include "plot/plot.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "catch.hpp"

TEST_CASE("pictures of lines, marks and logarithms are drawn") {
  const std::string path = "plot_test.svg";
  const plot::series line{"it's a line", {{1, 1}, {2, 10}, {3, 100}}}, mark{"a mark", {{2, 5}}};
  plot::write_svg(path, {{"plain", "x", "y", {line, mark}}, {"logarithmic", "x", "y", {line}, true}});
  std::ifstream in(path);
  const std::string svg(std::istreambuf_iterator<char>(in), {});
  CHECK(svg.starts_with("<?xml"));
  for (const char* text : {"plain", "logarithmic", "it's a line", "a mark"})
    CHECK(svg.find(text) != std::string::npos);
  std::remove(path.c_str());
}

TEST_CASE("a picture that cannot be written is an error that names it") {
  std::string what;
  try {
    plot::write_svg("/no/such/folder/p.svg", {{"t", "x", "y", {{"s", {{1, 1}, {2, 2}}}}}});
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  CHECK(what.starts_with("/no/such/folder/p.svg: "));
}
