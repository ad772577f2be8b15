// SPDX-License-Identifier: Apache-2.0
// Host and device never mix: views and contexts are typed by space, device memory is not indexed.
#include "../catch.hpp"

#include <mneme/core/concepts.hpp>

namespace {

using mneme::cuda;
using mneme::host;
using mneme::mat_view;
using mneme::row_view;

template <class From, class To>
inline constexpr bool becomes = std::convertible_to<From, To> || std::constructible_from<To, From>;

static_assert(becomes<row_view<float>, row_view<const float>> &&
              becomes<mat_view<float>, mat_view<const float>>);
static_assert(!becomes<row_view<const float>, row_view<float>> &&
              !becomes<mat_view<const float>, mat_view<float>>);
static_assert(becomes<row_view<float, cuda>, row_view<const float, cuda>>);
static_assert(!becomes<row_view<float, cuda>, row_view<float, host>>);
static_assert(!becomes<row_view<float, host>, row_view<float, cuda>>);
static_assert(!becomes<row_view<float, cuda>, row_view<const float, host>>);
static_assert(!becomes<mat_view<float, cuda>, mat_view<float, host>>);
static_assert(!becomes<mat_view<float, host>, mat_view<const float, cuda>>);
static_assert(!becomes<row_view<float>, row_view<double>> &&
              !becomes<row_view<double>, row_view<const float>>);

// Host ranges become host views only.
static_assert(becomes<std::vector<float>&, row_view<float>> &&
              becomes<const std::vector<float>&, row_view<const float>>);
static_assert(!becomes<const std::vector<float>&, row_view<float>>);
static_assert(!becomes<std::vector<float>&, row_view<float, cuda>>);
static_assert(!becomes<std::vector<double>&, row_view<float>>);

template <class V>
concept Indexed = requires(V v) { v[0]; };
template <class V>
concept Walked = requires(V v) { *v.begin(); };
static_assert(Indexed<row_view<float>> && Walked<row_view<float>>);
static_assert(!Indexed<row_view<float, cuda>> && !Walked<row_view<float, cuda>>);
static_assert(!Indexed<row_view<const float, cuda>>);
static_assert(Indexed<mat_view<float, cuda>>);  // a row of a device matrix is a device row
static_assert(std::same_as<decltype(mat_view<float, cuda>()[0]), row_view<float, cuda>>);

// A memory of one space is none of the other: its step takes rows of its own.
struct device_memory {
  using scalar = float;
  using space = cuda;
  using state = mneme::nothing;
  mneme::index_t d_in() const { return 1; }
  mneme::index_t d_out() const { return 1; }
  state init(mneme::place_in<cuda>) const { return {}; }
  state init() const { return {}; }
  void step(mneme::context_in<cuda>&, state&, row_view<const float, cuda>,
            row_view<float, cuda>) const noexcept {}
};
struct confused_memory : device_memory {
  using space = host;
};
static_assert(mneme::HasStep<device_memory> && !mneme::HasStep<confused_memory>);
static_assert(std::same_as<mneme::row_in<device_memory>, row_view<const float, cuda>>);

TEST_CASE("a matrix view walks strided rows") {
  float x[6] = {0, 1, 2, 3, 4, 5};
  const mat_view<float> m(x, 2, 2, 3);
  CHECK(m[1][0] == 3);
  CHECK(m.last(1)[0][1] == 4);
  CHECK(m.columns(1, 1)[1][0] == 4);
  CHECK(m.range(1, 2).rows() == 1);
  CHECK(m.first(0).rows() == 0);
}

}  // namespace
