// SPDX-License-Identifier: Apache-2.0
#include <mneme/math/topk.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/matrix.hpp"

#include <numeric>

using namespace mneme;
using mneme_test::matrix;
using mneme_test::placement;
using mneme_test::same_bits;
using mneme_test::test_archs;

namespace {

template <class T>
struct selection {
  std::vector<T> value;
  std::vector<index_t> index;

  explicit selection(index_t k)
      : value(static_cast<std::size_t>(k), T(7)), index(static_cast<std::size_t>(k), 7) {}
  bool operator==(const selection& o) const {
    return index == o.index && same_bits(value.data(), o.value.data(), static_cast<index_t>(value.size()));
  }
};

// The definition: a stable sort of everything.
template <class T>
selection<T> sorted(row_view<const T> scores, index_t k) {
  std::vector<index_t> order(static_cast<std::size_t>(scores.size()));
  std::iota(order.begin(), order.end(), index_t{0});
  std::erase_if(order, [&](index_t i) { return !(scores[i] > -std::numeric_limits<T>::infinity()); });
  std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return scores[a] > scores[b]; });
  selection<T> s(k);
  for (std::size_t m = 0; m < s.value.size(); ++m) {
    s.value[m] = m < order.size() ? scores[order[m]] : -std::numeric_limits<T>::infinity();
    s.index[m] = m < order.size() ? order[m] : -1;
  }
  return s;
}
template <class Arch, class T>
selection<T> selected(context& ctx, row_view<const T> scores, index_t k) {
  selection<T> s(k);
  topk<Arch>(ctx, scores, row_view<T>(s.value), row_view<index_t>(s.index));
  return s;
}

template <class Arch, class T, class Draw>
void equals_sorting(Draw&& draw) {
  context ctx;
  for (const index_t n : {0, 1, 2, 7, 15, 16, 17, 33, 64, 129, 257, 1000, 2049})
    for (const index_t k :
         {index_t{0}, index_t{1}, index_t{2}, index_t{5}, index_t{8}, index_t{32}, index_t{100}, n, n + 3}) {
      CAPTURE(n, k, sizeof(T));
      matrix<T> x(1, n, placement{.shift = 1});
      for (index_t i = 0; i < n; ++i) x.view()[0][i] = static_cast<T>(draw(i));
      CHECK(selected<Arch, T>(ctx, x.view()[0], k) == sorted<T>(x.view()[0], k));
      CHECK(x.surrounding_untouched());
    }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("topk equals a stable sort", "", test_archs) {
  random_stream random(1, 1);
  const auto both = [](auto&& draw) {
    equals_sorting<TestType, float>(draw);
    equals_sorting<TestType, double>(draw);
  };
  SECTION("random") {
    both([&](index_t) { return random.normal(); });
  }
  SECTION("many ties, zeros of both signs among them") {
    both([&](index_t) { return std::round(random.normal()) * (random.unit() < 0.5 ? -1 : 1); });
  }
  SECTION("all equal") {
    both([](index_t) { return 0.5; });
  }
  SECTION("ascending, descending") {
    both([](index_t i) { return static_cast<double>(i); });
    both([](index_t i) { return static_cast<double>(-i); });
  }
  SECTION("subnormal") {
    both([&](index_t) { return std::round(4 * random.normal()) * 1e-44; });
  }
  SECTION("NaN and infinities") {
    both([&](index_t) {
      const double u = random.unit();
      return u < 0.3    ? std::nan("")
             : u < 0.5  ? -std::numeric_limits<double>::infinity()
             : u < 0.52 ? std::numeric_limits<double>::infinity()
                        : random.normal();
    });
    both([](index_t i) { return i % 3 == 0 ? std::nan("") : -std::numeric_limits<double>::infinity(); });
    both([](index_t i) {
      return i % 5 == 0 ? static_cast<double>(std::numeric_limits<float>::lowest()) : std::nan("");
    });
  }
}

TEMPLATE_LIST_TEST_CASE("topk of a union is the topk of the parts' topk", "", test_archs) {
  constexpr index_t n = 500, cut = 211, k = 40;
  const auto x = mneme_test::random_rows<float>(1, n, 0, 3);
  const row_view<const float> all = x.view()[0];
  context ctx;
  const auto whole = selected<TestType, float>(ctx, all, k);
  const auto left = selected<TestType, float>(ctx, all.sub(0, cut), k);
  const auto right = selected<TestType, float>(ctx, all.sub(cut, n - cut), k);

  context::frame scratch(ctx);
  auto parts = candidate_list<float>::with_room(scratch, 2 * k);
  for (std::size_t m = 0; m < k; ++m) parts.push(right.value[m], right.index[m] + cut);
  for (std::size_t m = 0; m < k; ++m) parts.push(left.value[m], left.index[m]);
  selection<float> merged(k);
  best_candidates<TestType>(ctx, parts, row_view<float>(merged.value), row_view<index_t>(merged.index));
  CHECK(merged == whole);
}

TEMPLATE_LIST_TEST_CASE("candidates of equal value are ordered by id, whatever their order in the list", "",
                        test_archs) {
  context ctx;
  for (const index_t n : {3, 60, 700})  // by rank and by sorting
    for (const index_t k : {1, 7, 50}) {
      CAPTURE(n, k);
      context::frame scratch(ctx);
      auto list = candidate_list<double>::with_room(scratch, n);
      std::vector<double> by_id(static_cast<std::size_t>(n));
      for (index_t i = 0; i < n; ++i) {
        const index_t id = (i * 37 + 5) % n;  // n is no multiple of 37: every id once
        const double value = id % 8 == 4 ? -0.0 : static_cast<double>(id % 4);
        by_id[static_cast<std::size_t>(id)] = value;
        list.push(value, id);
      }
      selection<double> s(k);
      best_candidates<TestType>(ctx, list, row_view<double>(s.value), row_view<index_t>(s.index));
      CHECK(s == sorted<double>(row_view<const double>(by_id), k));
    }
}

TEST_CASE("topk takes its scratch from the context once") {
  context ctx(0);
  const auto x = mneme_test::random_rows<float>(1, 4096, 0, 5);
  selected<simd::native, float>(ctx, x.view()[0], 300);
  const std::size_t held = ctx.scratch_bytes();
  for (int i = 0; i < 3; ++i) selected<simd::native, float>(ctx, x.view()[0], 300);
  CHECK(ctx.scratch_bytes() == held);
}
