// SPDX-License-Identifier: Apache-2.0
// Comparing outputs and states: the bits, or within the tolerance. Differences are texts; empty means equal.
#pragma once
#include <mneme/core/any_state.hpp>

#include "matrix.hpp"
#include "tolerance.hpp"

#include <cstdio>
#include <string>

namespace mneme_test {

// Deep copy of one leaf of a state: shares no storage, asks no operator==.
struct leaf_copy {
  std::string path;
  mneme::element type;
  bool scalar;
  std::vector<std::byte> bytes;

  friend bool operator==(const leaf_copy&, const leaf_copy&) = default;
};

template <class S>
std::vector<leaf_copy> copy_leaves(const S& s) {
  std::vector<leaf_copy> leaves;
  mneme::visit_leaves(s, [&](const mneme::field_path& at, const mneme::leaf& l) {
    leaves.push_back({at.text(), l.type, l.scalar, std::vector<std::byte>(l.bytes())});
    l.copy_to(leaves.back().bytes.data());
  });
  return leaves;
}

inline std::string number(double x) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", x);
  return text;
}

// The first element whose bits differ.
template <class T>
std::string bit_difference(mneme::mat_view<const T> got, mneme::mat_view<const T> expected) {
  if (got.rows() != expected.rows()) return "another number of rows";
  for (index_t r = 0; r < got.rows(); ++r)
    for (index_t c = 0; c < got.cols(); ++c)
      if (!same_bits(&got[r][c], &expected[r][c], 1))
        return "row " + std::to_string(r) + ", column " + std::to_string(c) + " is " +
               number(static_cast<double>(got[r][c])) + ", expected the bits of " +
               number(static_cast<double>(expected[r][c]));
  return {};
}

// The first element further away than `allowed` for the largest finite magnitude expected. NaN equals NaN
// only.
template <class T, class U>
std::string difference(mneme::mat_view<const T> got, mneme::mat_view<const U> expected,
                       const tolerance& allowed) {
  if (got.rows() != expected.rows()) return "another number of rows";
  double scale = 0;
  for (index_t r = 0; r < expected.rows(); ++r)
    for (const U x : expected[r])
      if (std::isfinite(x)) scale = std::max(scale, std::abs(static_cast<double>(x)));
  const double bound = allowed.of(scale);
  for (index_t r = 0; r < got.rows(); ++r)
    for (index_t c = 0; c < got.cols(); ++c) {
      const double a = static_cast<double>(got[r][c]), b = static_cast<double>(expected[r][c]);
      if (std::abs(a - b) <= bound || a == b || (std::isnan(a) && std::isnan(b))) continue;
      return "row " + std::to_string(r) + ", column " + std::to_string(c) + " is " + number(a) +
             ", expected " + number(b) + " within " + number(bound);
    }
  return {};
}

template <class S>
std::string state_bit_difference(const S& got, const S& expected) {
  const auto a = copy_leaves(got), b = copy_leaves(expected);
  if (a.size() != b.size()) return "another number of leaves";
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i])) return "leaf \"" + b[i].path + "\" has other bits";
  return {};
}

// Leaves of float and double within the tolerance, wide integers equal. Bytes and all of 16 bits are what a
// store has rounded, which may move by one: only their number is compared here, their meaning through the
// outputs that follow.
template <class S>
std::string state_difference(const S& got, const S& expected, const tolerance& allowed) {
  const auto a = copy_leaves(got), b = copy_leaves(expected);
  if (a.size() != b.size()) return "another number of leaves";
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::string where = "leaf \"" + b[i].path + "\": ";
    if (a[i].path != b[i].path || a[i].bytes.size() != b[i].bytes.size()) return where + "another size";
    const auto compare = [&]<class E>(E) {
      const auto n = static_cast<index_t>(b[i].bytes.size() / sizeof(E));
      std::vector<E> x(static_cast<std::size_t>(n)), y = x;
      if (n > 0) std::memcpy(x.data(), a[i].bytes.data(), a[i].bytes.size());
      if (n > 0) std::memcpy(y.data(), b[i].bytes.data(), b[i].bytes.size());
      return difference(mneme::mat_view<const E>(x.data(), 1, n), mneme::mat_view<const E>(y.data(), 1, n),
                        allowed);
    };
    std::string found;
    if (b[i].type == mneme::element::f32)
      found = compare(float{});
    else if (b[i].type == mneme::element::f64)
      found = compare(double{});
    else if (b[i].type >= mneme::element::i32 && a[i].bytes != b[i].bytes)
      found = "other integers";
    if (!found.empty()) return where + found;
  }
  return {};
}

}  // namespace mneme_test
