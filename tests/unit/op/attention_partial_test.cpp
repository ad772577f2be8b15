// SPDX-License-Identifier: Apache-2.0
// Partial attention, long lists in parts, biases by distance.
#include <mneme/backend/cpu/attention.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

// Random float32 entries.
struct entries {
  matrix<float> K, V;
  entries(index_t size, index_t d_key, index_t d_value)
      : K(random_rows<float>(size, d_key, 0, 11)), V(random_rows<float>(size, d_value, 0, 12)) {}
  kv_rows<dtype::f32> all() const {
    return {reinterpret_cast<const std::byte*>(K.view().data()),
            reinterpret_cast<const std::byte*>(V.view().data()),
            K.view().stride() * 4,
            V.view().stride() * 4,
            K.cols(),
            V.cols(),
            K.rows()};
  }
};

template <class T>
struct owned {  // a partial with its rows
  matrix<T> numbers, sum;
  owned(index_t G, index_t d) : numbers(2, G), sum(G, d) { clear(view()); }
  partial<T> view() { return {numbers.view()[0], numbers.view()[1], sum.view()}; }
};

template <class Backend, class T>
owned<T> part(const entries& kv, mat_view<const T> Q, index_t from, index_t to) {
  owned<T> p(Q.rows(), kv.V.cols());
  context ctx;
  kernel<attention, Backend>::part(ctx, kv.all(), from, to, 0.3, Q, {}, p.view(), mat_view<T>());
  return p;
}
template <class Backend, class T>
matrix<T> whole(const entries& kv, mat_view<const T> Q) {
  matrix<T> O(Q.rows(), kv.V.cols());
  context ctx;
  kernel<attention, Backend>::template run<T>(ctx, kv.all(), 0.3, Q, O.view(), {});
  return O;
}
template <class Backend, class T>
matrix<T> answers(owned<T> p) {
  kernel<attention, Backend>::finish(p.view(), mat_view<T>());
  return p.sum;
}
template <class T>
std::string apart(const matrix<T>& got, const matrix<T>& expected) {
  return mneme_test::difference<T, T>(got, expected, {mneme_test::epsilon<T>, 0, 0, 1});
}
template <class T>
bool same(owned<T>& a, owned<T>& b) {
  return a.numbers == b.numbers && a.sum == b.sum;
}

template <class Backend, class T>
void check_merging() {
  const entries kv(211, 12, 21);
  const auto Q = random_rows<T>(5, 12, 0, 4);
  const matrix<T> expected = whole<Backend, T>(kv, Q);
  const std::vector<std::vector<index_t>> cuts{
      {0, 211}, {0, 1, 211}, {0, 64, 128, 211}, {0, 0, 77, 77, 200, 211}};
  for (const auto& ends : cuts) {
    owned<T> left(5, 21), right(5, 21);  // ((a b) c) and (a (b c))
    for (std::size_t i = 0; i + 1 < ends.size(); ++i)
      merge(left.view(), part<Backend, T>(kv, Q, ends[i], ends[i + 1]).view());
    for (std::size_t i = ends.size() - 1; i > 0; --i) {
      auto p = part<Backend, T>(kv, Q, ends[i - 1], ends[i]);
      merge(p.view(), right.view());
      right = p;
    }
    CHECK(apart(answers<Backend>(left), expected) == "");
    CHECK(apart(answers<Backend>(right), expected) == "");
  }
  auto p = part<Backend, T>(kv, Q, 30, 90), q = p;
  owned<T> nothing(5, 21);
  merge(q.view(), nothing.view());
  CHECK(same(p, q));
  merge(nothing.view(), p.view());
  CHECK(same(p, nothing));
  CHECK(answers<Backend>(owned<T>(5, 21)) == matrix<T>(5, 21, {}, T(0)));
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("partials merge to the attention over all entries", "", test_archs) {
  check_merging<cpu<TestType>, float>();
  check_merging<cpu<TestType>, double>();
}
TEST_CASE("partials of the reference merge to the attention over all entries") {
  check_merging<reference, float>();
  check_merging<reference, double>();
}

TEST_CASE("partials of very unequal scores and of NaN") {
  owned<double> a(1, 1), b(1, 1);
  a.view().highest[0] = 800, a.view().total[0] = 2, a.view().sum[0][0] = 6;
  b.view().highest[0] = -900, b.view().total[0] = 1, b.view().sum[0][0] = 5;
  merge(b.view(), a.view());
  CHECK(b.view().sum[0][0] / b.view().total[0] == 3);
  a.view().total[0] = std::nan("");
  merge(b.view(), a.view());
  CHECK(std::isnan(b.view().total[0]));
}

TEST_CASE("how long lists are cut") {
  CHECK(attention_parts(0) == 1);
  CHECK(attention_parts(2047) == 1);
  CHECK(attention_parts(2048) == 2);
  CHECK(attention_parts(16384) == 16);
  CHECK(attention_parts(1 << 20) == 16);
}

TEMPLATE_LIST_TEST_CASE("long lists give the reference's answers, with any threads the same bits", "",
                        test_archs) {
  for (index_t size : {2047, 2048, 3333}) {
    const entries kv(size, 10, 9);
    const auto Q = random_rows<float>(6, 10, 0, 4);
    context ctx, reversed;
    mneme_test::reverse_executor threads;
    reversed.threads = &threads;
    matrix<float> O(6, 9), P(6, size + 2), again(6, 9), exact(6, 9), weights(6, size + 2);
    using fast = kernel<attention, cpu<TestType>>;
    fast::template run<float>(ctx, kv.all(), 3, Q, O.view(), P.view());
    fast::template run<float>(reversed, kv.all(), 3, Q, again.view(), {});
    CHECK(O == again);
    kernel<attention, reference>::run<float>(ctx, kv.all(), 3, Q, exact.view(), weights.view());
    const mneme_test::tolerance allowed{mneme_test::epsilon<float>, 0, size / 32, 10};
    CHECK(mneme_test::difference<float, float>(O, exact, allowed) == "");
    const mat_view<const float> p = P, w = weights;
    CHECK(mneme_test::difference<float, float>(p.columns(0, size), w.columns(0, size), allowed) == "");
  }
}

TEST_CASE("scratch for every length is taken while preparing") {
  context ctx(64);
  const auto Q = random_rows<float>(4, 8, 0, 4);
  matrix<float> O(4, 16);
  ctx.preparing = true;
  attend_lists<cpu<simd::native>, float>(ctx, 2, [kv = entries(3, 8, 16)](index_t) { return kv.all(); }, 1, Q,
                                         O.view(), {});
  ctx.preparing = false;
  const auto held = ctx.scratch_bytes();
  attend_lists<cpu<simd::native>, float>(ctx, 2, [kv = entries(20000, 8, 16)](index_t) { return kv.all(); },
                                         1, Q, O.view(), {});
  CHECK(ctx.scratch_bytes() == held);
}

TEMPLATE_LIST_TEST_CASE("heads look at their own list", "", test_archs) {
  const entries first(70, 6, 5), second(70, 6, 5);
  const entries both[] = {first, [&] {
                            auto e = second;
                            for (float& x : e.V.view()[3]) x = 40;
                            return e;
                          }()};
  const auto Q = random_rows<float>(6, 6, 0, 4);
  matrix<float> O(6, 5), P(6, 70), o(3, 5), p(3, 70);
  context ctx;
  attend_lists<cpu<TestType>, float>(
      ctx, 2, [&](index_t list) { return both[list].all(); }, 1, Q, O.view(), P.view());
  for (index_t list : {0, 1}) {
    kernel<attention, cpu<TestType>>::template run<float>(
        ctx, both[list].all(), 1, Q.view().range(3 * list, 3 * list + 3), o.view(), p.view());
    CHECK(mneme_test::bit_difference<float>(O.view().range(3 * list, 3 * list + 3), o) == "");
    CHECK(mneme_test::bit_difference<float>(P.view().range(3 * list, 3 * list + 3), p) == "");
  }
}

TEMPLATE_LIST_TEST_CASE("biases by distance", "", test_archs) {
  const entries kv(90, 7, 5);
  const auto Q = random_rows<double>(4, 7, 0, 4);
  std::vector<index_t> positions;
  for (index_t i = 0; i < 2 * 90; ++i) positions.push_back(200 - i * 37 % 91 - (i >= 90));
  const std::vector<double> slopes{0.5, 0, 0.01, 0.125};
  for (const bool tables : {false, true}) {
    const distance_bias bias{slopes, {positions.data(), tables ? 2 : 0, 90}, 210};
    matrix<double> O(4, 5);
    context ctx;
    attend_lists<cpu<TestType>, double>(
        ctx, 2, [&](index_t) { return kv.all(); }, 0.3, Q, O.view(), {}, bias);
    for (index_t h = 0; h < 4; ++h) {
      double total = 0;
      std::vector<double> o(5);
      for (index_t i = 0; i < 90; ++i) {
        double s = 0;
        for (index_t c = 0; c < 7; ++c) s += Q.view()[h][c] * static_cast<double>(kv.K.view()[i][c]);
        const index_t at = tables ? positions[static_cast<std::size_t>(h / 2 * 90 + i)] : i;
        s = std::exp(0.3 * s - slopes[static_cast<std::size_t>(h)] * static_cast<double>(210 - at) + 60);
        total += s;
        for (index_t c = 0; c < 5; ++c)
          o[static_cast<std::size_t>(c)] += s * static_cast<double>(kv.V.view()[i][c]);
      }
      for (index_t c = 0; c < 5; ++c)
        CHECK(std::abs(O.view()[h][c] - o[static_cast<std::size_t>(c)] / total) < 1e-12);
    }
  }
}

TEST_CASE("slopes of biases by distance") {
  for (index_t h = 0; h < 8; ++h) CHECK(alibi_slope(h, 8) == std::exp2(-(static_cast<double>(h) + 1)));
  CHECK(alibi_slope(0, 1) == std::exp2(-8));
  for (index_t h = 0; h < 8; ++h) CHECK(alibi_slope(h, 12) == alibi_slope(h, 8));
  for (index_t h = 8; h < 12; ++h) CHECK(alibi_slope(h, 12) == alibi_slope(2 * (h - 8), 16));
}
