// SPDX-License-Identifier: Apache-2.0
#include <mneme/core/view.hpp>

#include "catch.hpp"

#include <array>
#include <numeric>
#include <vector>

using namespace mneme;

namespace {

std::vector<float> counted(int n) {  // 0, 1, 2, ...
  std::vector<float> v(static_cast<std::size_t>(n));
  std::iota(v.begin(), v.end(), 0.0f);
  return v;
}

}  // namespace

TEST_CASE("a row view sees vectors, arrays and spans without copying") {
  std::vector<float> v = counted(5);
  std::array<float, 3> a{7, 8, 9};
  const std::span<float> s(v.data() + 1, 2);
  const row_view<float> from_vector(v), from_array(a), from_span(s);
  CHECK(from_vector.data() == v.data());
  CHECK(from_vector.size() == 5);
  CHECK(from_array.data() == a.data());
  CHECK(from_array.size() == 3);
  CHECK(from_span.data() == v.data() + 1);
  CHECK(from_span.size() == 2);
  from_vector[2] = 20;
  CHECK(v[2] == 20);
}

TEST_CASE("a const row view sees const ranges and mutable views, never the other way round") {
  const std::vector<float> v = counted(4);
  const row_view<const float> read(v);
  CHECK(read[3] == 3);
  std::vector<float> w = counted(4);
  const row_view<float> write(w);
  const row_view<const float> seen = write;
  CHECK(seen.data() == w.data());
  CHECK(seen.size() == 4);
  static_assert(std::is_convertible_v<row_view<float>, row_view<const float>>);
  static_assert(!std::is_constructible_v<row_view<float>, row_view<const float>>);
  static_assert(!std::is_constructible_v<row_view<float>, const std::vector<float>&>);
  static_assert(!std::is_constructible_v<row_view<float>, row_view<double>>);
  static_assert(!std::is_constructible_v<mat_view<float>, mat_view<const float>>);
}

TEST_CASE("host and device views do not mix") {
  static_assert(!std::is_constructible_v<row_view<float>, row_view<float, cuda>>);
  static_assert(!std::is_constructible_v<row_view<const float, cuda>, row_view<float>>);
  static_assert(!std::is_constructible_v<row_view<float, cuda>, std::vector<float>&>);
  static_assert(!std::is_constructible_v<mat_view<float>, mat_view<float, cuda>>);
  static_assert(requires(row_view<float> r) { r[0]; });
  static_assert(![]<class V>(V) { return requires(V r) { r[0]; }; }(row_view<float, cuda>()));
  SUCCEED();
}

TEST_CASE("parts of a row") {
  std::vector<float> v = counted(6);
  const row_view<float> r(v);
  const row_view<float> part = r.sub(2, 3);
  CHECK(std::vector<float>(part.begin(), part.end()) == std::vector<float>{2, 3, 4});
  CHECK(r.sub(6, 0).size() == 0);
  CHECK(row_view<float>().size() == 0);
  CHECK(row_view<float>().begin() == row_view<float>().end());
}

TEST_CASE("rows and columns of a strided matrix") {
  std::vector<float> v = counted(24);
  const mat_view<float> m(v.data(), 4, 5, 6);  // four rows of five, six apart
  CHECK(m[0][0] == 0);
  CHECK(m[3][4] == 22);
  CHECK(m[2].size() == 5);

  const mat_view<float> middle = m.range(1, 3);
  CHECK(middle.rows() == 2);
  CHECK(middle[0][0] == 6);
  CHECK(middle[1].data() == m[2].data());
  CHECK(m.first(2).rows() == 2);
  CHECK(m.first(2).data() == m.data());
  CHECK(m.last(1)[0][0] == 18);
  CHECK(m.last(0).rows() == 0);
  CHECK(m.range(4, 4).rows() == 0);

  const mat_view<float> two = m.columns(3, 2);
  CHECK(two.rows() == 4);
  CHECK(two.cols() == 2);
  CHECK(two.stride() == 6);
  CHECK(two[1][0] == 9);
  CHECK(two.range(2, 4)[1][1] == 22);
  CHECK(two.columns(1, 1)[0][0] == 4);
}

TEST_CASE("a row is a matrix of one row and a matrix without a stride is dense") {
  std::vector<float> v = counted(6);
  const mat_view<float> one{row_view<float>(v)};
  CHECK(one.rows() == 1);
  CHECK(one.cols() == 6);
  CHECK(one[0].data() == v.data());
  const mat_view<const float> dense = mat_view<float>(v.data(), 3, 2);
  CHECK(dense.stride() == 2);
  CHECK(dense[2][1] == 5);
}
