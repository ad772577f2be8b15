// SPDX-License-Identifier: Apache-2.0
// Partial attention, long lists in parts, biases by distance.
#include <mneme/backend/cpu/attention.hpp>

#include "attention_case.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace attention_test;

namespace {

using fast = kernel<attention, cpu<simd::native>>;

template <class Backend, class T>
std::string partial_fault() {
  using op = kernel<attention, Backend>;
  const entries kv(211, 12, 21);
  const auto Q = random_rows<T>(5, 12, 0, 4);
  matrix<double> O(5, 21);
  context ctx;
  kernel<attention, reference>::run<double>(ctx, kv.all(), 0.3, widened<T>(Q.view()), O.view(), {});
  return monoid_fault(partial_answers<T>(kv, Q, &op::part, &op::finish, &mneme::merge<T>, O),
                      {.eps = epsilon<T>, .rows = 0, .width = 12});
}

}  // namespace

TEST_CASE("partials merge to the attention over all entries", "[L12][partial][attention]") {
  CHECK(partial_fault<native, float>() == "");
  CHECK(partial_fault<native, double>() == "");
  CHECK(partial_fault<reference, double>() == "");
}

TEST_CASE("a partial over no entries answers with zeros") {
  owned_partial<float> none(5, 21);
  fast::finish(none.view(), mat_view<float>());
  CHECK(none.sum == matrix<float>(5, 21, {}, 0.0f));
}

TEST_CASE("partials of very unequal scores and of NaN") {
  owned_partial<double> a(1, 1), b(1, 1);
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
  CHECK(attention_parts(1024) == 1);
  CHECK(attention_parts(1025) == 2);
  CHECK(attention_parts(16384) == 16);
  CHECK(attention_parts(16385) == 9);
  CHECK(attention_parts(1 << 20) == 16);
  for (const index_t size : {1, 1024, 5000, 16385, 100000})
    CHECK(attention_part(size) * attention_parts(size) >= size);
}

TEST_CASE("long lists give the reference's answers, with any threads the same bits",
          "[L12][attention_lists]") {
  for (index_t size : {1024, 1025, 3333}) {
    const entries kv(size, 10, 9);
    const auto Q = random_rows<float>(6, 10, 0, 4);
    context ctx, reversed;
    reverse_executor threads;
    reversed.threads = &threads;
    matrix<float> O(6, 9), P(6, size + 2), again(6, 9), exact(6, 9), weights(6, size + 2);
    fast::run<float>(ctx, kv.all(), 3, Q, O.view(), P.view());
    fast::run<float>(reversed, kv.all(), 3, Q, again.view(), {});
    CHECK(O == again);
    kernel<attention, reference>::run<float>(ctx, kv.all(), 3, Q, exact.view(), weights.view());
    const tolerance allowed{epsilon<float>, 0, size / 32, 10};
    CHECK(difference<float, float>(O, exact, allowed) == "");
    const mat_view<const float> p = P, w = weights;
    CHECK(difference<float, float>(p.columns(0, size), w.columns(0, size), allowed) == "");
  }
}

TEST_CASE("scratch for every length is taken while preparing") {
  context ctx(64);
  const auto Q = random_rows<float>(4, 8, 0, 4);
  matrix<float> O(4, 16);
  ctx.preparing = true;
  attend_lists<native, float>(ctx, 2, [kv = entries(3, 8, 16)](index_t) { return kv.all(); }, 1, Q, O.view(),
                              {});
  ctx.preparing = false;
  const auto held = ctx.scratch_bytes();
  attend_lists<native, float>(ctx, 2, [kv = entries(20000, 8, 16)](index_t) { return kv.all(); }, 1, Q,
                              O.view(), {});
  CHECK(ctx.scratch_bytes() == held);
}

TEST_CASE("heads look at their own list") {
  const entries first(70, 6, 5), second(70, 6, 5);
  const entries both[] = {first, [&] {
                            auto e = second;
                            for (float& x : e.V.view()[3]) x = 40;
                            return e;
                          }()};
  const auto Q = random_rows<float>(6, 6, 0, 4);
  matrix<float> O(6, 5), P(6, 70), o(3, 5), p(3, 70);
  context ctx;
  attend_lists<native, float>(
      ctx, 2, [&](index_t list) { return both[list].all(); }, 1, Q, O.view(), P.view());
  for (index_t list : {0, 1}) {
    fast::run<float>(ctx, both[list].all(), 1, Q.view().range(3 * list, 3 * list + 3), o.view(), p.view());
    CHECK(bit_difference<float>(O.view().range(3 * list, 3 * list + 3), o) == "");
    CHECK(bit_difference<float>(P.view().range(3 * list, 3 * list + 3), p) == "");
  }
}

TEST_CASE("biases by distance") {
  const entries kv(90, 7, 5);
  const auto Q = random_rows<double>(4, 7, 0, 4);
  std::vector<index_t> positions;
  for (index_t i = 0; i < 2 * 90; ++i) positions.push_back(200 - i * 37 % 91 - (i >= 90));
  const std::vector<double> slopes{0.5, 0, 0.01, 0.125};
  for (const bool tables : {false, true}) {
    const distance_bias bias{slopes, {positions.data(), tables ? 2 : 0, 90}, 210};
    matrix<double> O(4, 5);
    context ctx;
    attend_lists<native, double>(ctx, 2, [&](index_t) { return kv.all(); }, 0.3, Q, O.view(), {}, bias);
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
