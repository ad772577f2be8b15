// SPDX-License-Identifier: Apache-2.0
// Several positions of a stream at once: the bits of each of them alone.
#include <mneme/backend/cpu/attention.hpp>

#include "attention_case.hpp"
#include "attention_stored.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"
#include "laws/executors.hpp"

using namespace attention_test;

namespace {

struct positions_case {
  index_t size, positions, lists, G, d_key, d_value;
};

// Two lists are the same entries, shifted by one.
template <dtype D>
auto lists_of(const stored_entries<D>& kv, index_t size) {
  return [&kv, size](index_t list) {
    kv_rows<D> rows = kv.first(size);
    rows.keys += list * rows.key_stride;
    rows.values += list * rows.value_stride;
    return rows;
  };
}

template <dtype D, class T>
void check(const positions_case& c, executor* threads, const distance_bias& bias = {}) {
  CAPTURE(c.size, c.positions, c.lists, c.G, c.d_key, c.d_value);
  const index_t heads = c.lists * c.G;
  const stored_entries<D> kv(c.size + c.lists - 1, c.d_key, c.d_value);
  const auto Q = random_rows<T>(c.positions, heads * c.d_key, 0, 5);
  matrix<T> O(c.positions, heads * c.d_value, {5, 1}), one(heads, c.d_value);
  context ctx;
  ctx.threads = threads;
  attend_positions<native, T>(ctx, c.lists, lists_of(kv, c.size), 0.3, Q, O.view(), bias);
  for (index_t t = 0; t < c.positions; ++t) {
    const index_t seen = c.size - c.positions + 1 + t;
    attend_lists<native, T>(ctx, c.lists, lists_of(kv, seen), 0.3,
                            mat_view<const T>(Q.view()[t].data(), heads, c.d_key), one.view(), {},
                            bias.at(bias.position + 1 - c.positions + t));
    CHECK(same_bits(O.view()[t].data(), one.view().data(), heads * c.d_value));
  }
}

}  // namespace

TEST_CASE("positions together give the bits of each alone", "[L21][attention]") {
  reverse_executor reversed;
  for (executor* threads : {static_cast<executor*>(nullptr), static_cast<executor*>(&reversed)})
    for (const auto& c : {positions_case{1, 1, 1, 1, 3, 5}, positions_case{40, 33, 2, 3, 20, 33},
                          positions_case{131, 50, 1, 1, 64, 96}, positions_case{200, 17, 2, 4, 32, 64}}) {
      check<dtype::f32, float>(c, threads);
      check<dtype::q8_0, float>(c, threads);
    }
  check<dtype::bf16, float>({90, 20, 1, 7, 64, 32}, nullptr);
  check<dtype::f32, double>({90, 20, 1, 2, 9, 10}, nullptr);
}

TEST_CASE("positions whose lists are cut into parts") {
  check<dtype::f32, float>({1030, 20, 1, 2, 8, 16}, nullptr);
  check<dtype::q8_0, float>({16390, 20, 1, 1, 32, 32}, nullptr);  // and into longer ones on the way
}

TEST_CASE("positions with biases by distance") {
  const std::vector<double> slopes{0.5, 0.25, 0.125, 0.01};
  check<dtype::f32, float>({70, 30, 2, 2, 16, 16}, nullptr, {slopes, {}, 69});
}

TEST_CASE("what a position does not see may be NaN") {
  entries kv(80, 16, 16);
  kv.K.view()[79][3] = kv.V.view()[79][3] = NAN;
  const auto Q = random_rows<float>(8, 32, 0, 4);
  matrix<float> O(8, 32);
  context ctx;
  attend_positions<native, float>(ctx, 1, [&](index_t) { return kv.all(); }, 0.3, Q, O.view());
  for (index_t t = 0; t < 7; ++t)
    for (const float o : O.view()[t]) CHECK(std::isfinite(o));
  CHECK(std::isnan(O.view()[7][3]));
}

TEST_CASE("scratch for positions is taken before the first token") {
  const entries kv(300, 8, 16);
  const auto Q = random_rows<float>(40, 4 * 8, 0, 4);
  matrix<float> O(40, 4 * 16);
  const auto lists = [&](index_t) { return kv.all(); };
  context ctx(64);
  ctx.preparing = true;
  attend_positions<native, float>(ctx, 2, lists, 1, Q, O.view());
  ctx.preparing = false;
  const std::size_t held = ctx.scratch_bytes();
  for (const index_t n : {40, 16, 5, 1})
    attend_positions<native, float>(ctx, 2, lists, 1, Q.view().first(n), O.view().first(n));
  CHECK(ctx.scratch_bytes() == held);
}

TEST_CASE("positions by the reference are what each of them is alone") {
  const entries kv(30, 6, 5);
  const auto Q = random_rows<double>(7, 12, 0, 4);
  matrix<double> O(7, 10), fast(7, 10);
  context ctx;
  const auto lists = [&](index_t) { return kv.all(); };
  attend_positions<reference, double>(ctx, 1, lists, 0.3, Q, O.view());
  attend_positions<native, double>(ctx, 1, lists, 0.3, Q, fast.view());
  CHECK(difference<double, double>(fast, O, {epsilon<double>, 0, 30, 10}) == "");
}
