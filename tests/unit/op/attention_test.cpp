// SPDX-License-Identifier: Apache-2.0
#include <mneme/backend/cpu/attention.hpp>
#include <mneme/math/encode.hpp>

#include "arch_list.hpp"
#include "catch.hpp"
#include "laws/compare.hpp"

using namespace mneme;
using mneme_test::matrix;
using mneme_test::random_rows;
using mneme_test::test_archs;

namespace {

// Random entries in their stored form, slots further apart than they are long, NaN in between.
template <dtype D>
class entries {
 public:
  entries(index_t size, index_t d_key, index_t d_value) : d_key_(d_key), d_value_(d_value), size_(size) {
    keys_ = stored(random_rows<float>(size, d_key, 0, 11), key_stride_);
    values_ = stored(random_rows<float>(size, d_value, 0, 12), value_stride_);
  }
  kv_rows<D> first(index_t n) const {
    return {keys_.data() + shift, values_.data() + shift, key_stride_, value_stride_, d_key_, d_value_, n};
  }
  kv_rows<D> all() const { return first(size_); }

 private:
  static constexpr index_t shift = info(D).block == 1 ? info(D).block_bytes : 1;  // misaligned for packs

  static std::vector<std::byte> stored(const matrix<float>& rows, index_t& stride) {
    const index_t padded = kv_rows<D>::padded(rows.cols());
    stride = row_bytes(D, padded) + 3 * info(D).block_bytes;
    std::vector<std::byte> bytes(static_cast<std::size_t>(rows.rows() * stride + shift), std::byte{0xff});
    for (index_t r = 0; r < rows.rows(); ++r) {
      std::vector<float> row(static_cast<std::size_t>(padded));
      std::copy(rows.view()[r].begin(), rows.view()[r].end(), row.begin());
      encode_row(D, row.data(), padded, bytes.data() + shift + r * stride);
    }
    return bytes;
  }
  index_t d_key_, d_value_, size_, key_stride_ = 0, value_stride_ = 0;
  std::vector<std::byte> keys_, values_;
};

template <class T>
struct answer {
  matrix<T> O, P;
};
template <class Backend, class T, dtype D>
answer<T> attend(const kv_rows<D>& kv, double scale, mat_view<const T> Q, bool want_p = true) {
  const mneme_test::placement odd{5, 1};
  answer<T> a{matrix<T>(Q.rows(), kv.d_value, odd), matrix<T>(want_p ? Q.rows() : 0, kv.size + 3, odd)};
  context ctx;
  kernel<attention, Backend>::template run<T>(ctx, kv, scale, Q, a.O.view(), a.P.view());
  CHECK(a.O.surrounding_untouched());
  CHECK(a.P.surrounding_untouched());
  return a;
}
template <class T>
matrix<T> queries(index_t G, index_t d, T times = 1) {
  matrix<T> Q(random_rows<T>(G, d, 0, 5).view(), {3, 1});
  for (index_t g = 0; g < G; ++g)
    for (T& q : Q.view()[g]) q *= times;
  return Q;
}

// A score is a sum of d products; its rounding error is relative to their magnitudes and becomes a relative
// error of e^score. Probabilities and outputs sum up `size` of those.
template <class T, dtype D>
void compare(const kv_rows<D>& kv, double scale, const matrix<T>& Q, const answer<T>& got) {
  const auto expected = attend<reference, T, D>(kv, scale, Q);
  double largest = 0;
  std::vector<double> key(static_cast<std::size_t>(kv.padded(kv.d_key)));
  for (index_t i = 0; i < kv.size; ++i) {
    decode_row<D, simd::scalar>(kv.key(i), kv.padded(kv.d_key), key.data());
    for (index_t g = 0; g < Q.rows(); ++g) {
      double sum = 0;
      for (index_t c = 0; c < kv.d_key; ++c)
        sum += std::abs(static_cast<double>(Q.view()[g][c]) * key[static_cast<std::size_t>(c)]);
      largest = std::max(largest, scale * sum);
    }
  }
  const double eps = mneme_test::epsilon<T>, growth = std::sqrt(static_cast<double>(kv.size)) + 2 * largest;
  const mneme_test::tolerance allowed{eps * (1 + growth) / 8, 0, 0, 1};
  CHECK(mneme_test::difference<T, T>(got.O, expected.O, allowed) == "");
  if (got.P.rows() == 0) return;
  const mat_view<const T> P = got.P, right = expected.P;
  CHECK(mneme_test::difference<T, T>(P.columns(0, kv.size), right.columns(0, kv.size), allowed) == "");
  for (index_t g = 0; g < P.rows(); ++g) {
    double sum = 0;
    for (T p : P[g].sub(0, kv.size)) sum += static_cast<double>(p);
    CHECK(std::abs(sum - (kv.size > 0)) < 16 * eps * (1 + growth));
    for (T untouched : P[g].sub(kv.size, 3)) CHECK(std::isnan(untouched));
  }
}

template <class Arch, class T, dtype D>
void check_shapes() {
  struct shape {
    index_t size, G, d_key, d_value;
  };
  for (const auto& [size, G, d_key, d_value] :
       {shape{0, 3, 5, 7}, shape{1, 1, 1, 1}, shape{2, 2, 33, 8}, shape{7, 3, 8, 19}, shape{63, 4, 64, 64},
        shape{64, 5, 17, 3}, shape{65, 6, 16, 65}, shape{130, 7, 1, 20}, shape{193, 9, 24, 130}}) {
    CAPTURE(size, G, d_key, d_value);
    const entries<D> kv(size, d_key, d_value);
    const double scale = 1 / std::sqrt(static_cast<double>(d_key));
    const auto Q = queries<T>(G, d_key);
    compare(kv.all(), scale, Q, attend<cpu<Arch>, T, D>(kv.all(), scale, Q));
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("attention kernels agree with the reference on float32 entries", "", test_archs) {
  check_shapes<TestType, float, dtype::f32>();
  check_shapes<TestType, double, dtype::f32>();
}
TEMPLATE_LIST_TEST_CASE("attention kernels agree with the reference on float64 entries", "", test_archs) {
  check_shapes<TestType, double, dtype::f64>();
}
TEMPLATE_LIST_TEST_CASE("attention kernels agree with the reference on q8_0 entries", "", test_archs) {
  check_shapes<TestType, float, dtype::q8_0>();
}
TEMPLATE_LIST_TEST_CASE("attention kernels agree with the reference on 16-bit entries", "", test_archs) {
  check_shapes<TestType, float, dtype::bf16>();
  check_shapes<TestType, float, dtype::f16>();
}

TEMPLATE_LIST_TEST_CASE("attention to no entries is zero", "", test_archs) {
  const entries<dtype::f32> kv(0, 4, 6);
  const auto got = attend<cpu<TestType>, float, dtype::f32>(kv.all(), 1, queries<float>(3, 4));
  for (index_t g = 0; g < 3; ++g)
    for (float o : got.O.view()[g]) CHECK(o == 0);
}

TEMPLATE_LIST_TEST_CASE("attention to one entry is its value", "", test_archs) {
  const entries<dtype::f32> kv(1, 5, 7);
  const auto got = attend<cpu<TestType>, float, dtype::f32>(kv.all(), 0.3, queries<float>(4, 5));
  const float* v = reinterpret_cast<const float*>(kv.all().value(0));
  for (index_t g = 0; g < 4; ++g) {
    for (index_t c = 0; c < 7; ++c) CHECK(got.O.view()[g][c] == v[c]);
    CHECK(got.P.view()[g][0] == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("attention with very unequal scores", "", test_archs) {
  const entries<dtype::f32> kv(150, 24, 10);
  for (float times : {10.0f, 100.0f, 3000.0f}) {
    CAPTURE(times);
    const auto Q = queries<float>(5, 24, times);
    const auto got = attend<cpu<TestType>, float, dtype::f32>(kv.all(), 0.2, Q);
    compare(kv.all(), 0.2, Q, got);
    for (index_t g = 0; g < 5; ++g)
      for (float o : got.O.view()[g]) CHECK(std::isfinite(o));
  }
}

TEMPLATE_LIST_TEST_CASE("asking for the probabilities never changes the answer", "", test_archs) {
  for (index_t size : {1, 64, 65, 200}) {
    const entries<dtype::q8_0> kv(size, 20, 35);
    const auto Q = queries<float>(6, 20);
    const auto with = attend<cpu<TestType>, float, dtype::q8_0>(kv.all(), 0.2, Q, true);
    const auto without = attend<cpu<TestType>, float, dtype::q8_0>(kv.all(), 0.2, Q, false);
    CHECK(mneme_test::bit_difference<float>(without.O, with.O) == "");
  }
}

TEMPLATE_LIST_TEST_CASE("the bits of a query's answer do not depend on the other queries", "", test_archs) {
  const entries<dtype::f32> kv(140, 19, 37);
  const auto Q = queries<float>(9, 19);
  for (index_t G = 1; G <= 9; ++G) {
    const auto together = attend<cpu<TestType>, float, dtype::f32>(kv.all(), 0.25, Q.view().first(G));
    for (index_t g = 0; g < G; ++g) {
      const auto alone = attend<cpu<TestType>, float, dtype::f32>(kv.all(), 0.25, Q.view().range(g, g + 1));
      CAPTURE(G, g);
      CHECK(mneme_test::bit_difference<float>(alone.O, together.O.view().range(g, g + 1)) == "");
      CHECK(mneme_test::bit_difference<float>(alone.P, together.P.view().range(g, g + 1)) == "");
    }
  }
}

TEMPLATE_LIST_TEST_CASE("attention reads only the entries that it was given", "", test_archs) {
  const entries<dtype::f32> longer(100, 6, 6), shorter(70, 6, 6);
  const auto Q = queries<float>(2, 6);
  const auto a = attend<cpu<TestType>, float, dtype::f32>(longer.first(70), 0.4, Q);
  const auto b = attend<cpu<TestType>, float, dtype::f32>(shorter.all(), 0.4, Q);
  CHECK(mneme_test::bit_difference<float>(a.O, b.O) == "");
}
