// SPDX-License-Identifier: Apache-2.0
// The error bounds that math/activation.hpp states, over dense sweeps, in packs and in single lanes.
#include <mneme/math/vector.hpp>

#include "arch_list.hpp"
#include "catch.hpp"

#include <cmath>
#include <vector>

using namespace mneme;
using mneme_test::test_archs;

namespace {

using wide = long double;
template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan = std::numeric_limits<T>::quiet_NaN();

// Distance from the exact value in units of the last place of T there.
template <class T>
double ulps(T got, wide exact) {
  if (std::isinf(got) || std::isnan(got)) return static_cast<wide>(got) == exact ? 0 : 1e30;
  constexpr int lowest = std::numeric_limits<T>::min_exponent - 1;
  const int exponent = exact == 0 ? lowest : std::max(std::ilogb(exact), lowest);
  return static_cast<double>(std::abs(static_cast<wide>(got) - exact) /
                             std::ldexp(wide(1), exponent - std::numeric_limits<T>::digits + 1));
}

// All signs, all magnitudes from 2^-40 to 2^10, and the range in which the functions bend.
template <class T>
std::vector<T> sweep() {
  std::vector<T> x;
  for (int exponent = -40; exponent < 10; ++exponent)
    for (int i = 0; i < 777; ++i) {
      const T v = std::ldexp(T(1) + static_cast<T>(i) / T(777), exponent);
      x.push_back(v);
      x.push_back(-v);
    }
  for (int i = -40000; i <= 40000; ++i) x.push_back(static_cast<T>(i) / T(399));
  for (T v : {T(0), std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::min(),
              std::numeric_limits<T>::max()}) {
    x.push_back(v);
    x.push_back(-v);
  }
  return x;
}

template <class Arch, class T, class F>
std::vector<T> applied(const std::vector<T>& x, F&& f) {
  std::vector<T> y(x.size());
  map_row<Arch>(static_cast<index_t>(x.size()), x.data(), y.data(), f);
  return y;
}

// The largest error of f over the sweep, of the arguments that `counts` accepts.
template <class Arch, class T, class F, class Exact, class Counts>
double worst(F&& f, Exact&& exact, Counts&& counts) {
  const std::vector<T> x = sweep<T>(), y = applied<Arch>(x, f);
  double largest = 0;
  T at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const wide value = exact(static_cast<wide>(x[i]));
    if (!counts(x[i], value)) continue;
    const double error = ulps(y[i], value);
    if (error > largest) largest = error, at = x[i];
  }
  UNSCOPED_INFO("largest error " << largest << " ulp at " << at);
  return largest;
}
constexpr auto always = [](auto, wide) { return true; };
constexpr auto normal = [](auto, wide value) { return std::abs(value) > 0x1p-125L; };

constexpr auto exp_of = []<class P>(P x) { return mneme::exp(x); };
constexpr auto sigmoid_of = []<class P>(P x) { return sigmoid(x); };
constexpr auto silu_of = []<class P>(P x) { return silu(x); };
constexpr auto softplus_of = []<class P>(P x) { return softplus(x); };
constexpr auto tanh_of = []<class P>(P x) { return mneme::tanh(x); };
constexpr auto log1p_of = []<class P>(P x) { return log1p_unit(x); };

// The value at x in every lane of a pack, and in the tail.
template <class Arch, class T, class F, class Holds>
bool everywhere(T x, F&& f, Holds&& holds) {
  const std::vector<T> y =
      applied<Arch>(std::vector<T>(static_cast<std::size_t>(simd::width<simd::pack<T, Arch>> + 1), x), f);
  for (T v : y)
    if (!holds(v)) return false;
  return true;
}
template <class Arch, class T, class F>
bool gives(T x, F&& f, T value) {
  return everywhere<Arch>(x, f, [value](T v) { return std::isnan(value) ? std::isnan(v) : v == value; });
}

template <class Arch, class T>
void ends() {
  const T inf = infinity<T>;
  CHECK(gives<Arch>(nan<T>, exp_of, nan<T>));
  CHECK(gives<Arch>(inf, exp_of, inf));
  CHECK(gives<Arch>(-inf, exp_of, T(0)));
  CHECK(gives<Arch>(T(0), exp_of, T(1)));
  CHECK(gives<Arch>(T(-1e4), exp_of, T(0)));
  CHECK(gives<Arch>(T(1e4), exp_of, inf));
  CHECK(gives<Arch>(nan<T>, sigmoid_of, nan<T>));
  CHECK(gives<Arch>(inf, sigmoid_of, T(1)));
  CHECK(gives<Arch>(-inf, sigmoid_of, T(0)));
  CHECK(gives<Arch>(T(0), sigmoid_of, T(0.5)));
  CHECK(gives<Arch>(nan<T>, silu_of, nan<T>));
  CHECK(gives<Arch>(inf, silu_of, inf));
  CHECK(gives<Arch>(-inf, silu_of, nan<T>));
  CHECK(gives<Arch>(T(-1e4), silu_of, T(0)));
  CHECK(everywhere<Arch>(T(-1e4), silu_of, [](T v) { return std::signbit(v); }));
  CHECK(gives<Arch>(nan<T>, softplus_of, nan<T>));
  CHECK(gives<Arch>(inf, softplus_of, inf));
  CHECK(gives<Arch>(-inf, softplus_of, T(0)));
  CHECK(gives<Arch>(T(1e30), softplus_of, T(1e30)));
  CHECK(gives<Arch>(nan<T>, tanh_of, nan<T>));
  CHECK(gives<Arch>(inf, tanh_of, T(1)));
  CHECK(gives<Arch>(-inf, tanh_of, T(-1)));
  CHECK(gives<Arch>(T(0), tanh_of, T(0)));
}

wide sigmoid_exact(wide x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEMPLATE_LIST_TEST_CASE("float: stated errors", "", test_archs) {
  using T = float;
  // Beyond the ends of the range exp is exactly 0 or infinity.
  const auto representable = [](T x, wide value) { return x <= 88.722832f && value >= 0x1p-125L; };
  CHECK(worst<TestType, T>(exp_of, [](wide x) { return std::exp(x); }, representable) <= 2);
  CHECK(worst<TestType, T>(sigmoid_of, sigmoid_exact, normal) <= 4);
  CHECK(worst<TestType, T>(
            silu_of, [](wide x) { return x * sigmoid_exact(x); },
            [](T x, wide) { return sigmoid_exact(x) > 0x1p-125L; }) <= 5);
  CHECK(worst<TestType, T>(
            softplus_of, [](wide x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, wide(0)); },
            normal) <= 4);
  CHECK(worst<TestType, T>(tanh_of, [](wide x) { return std::tanh(x); }, always) <= 4);
  CHECK(worst<TestType, T>(
            log1p_of, [](wide x) { return std::log1p(x); }, [](T x, wide) { return x >= 0 && x <= 1; }) <= 3);
}

TEMPLATE_LIST_TEST_CASE("double: stated errors", "", test_archs) {
  using T = double;
  const auto representable = [](T x, wide value) { return x < 709 && value > 0x1p-1000L; };
  CHECK(worst<TestType, T>(exp_of, [](wide x) { return std::exp(x); }, representable) <= 2);
  CHECK(worst<TestType, T>(sigmoid_of, sigmoid_exact, representable) <= 4);
  CHECK(worst<TestType, T>(
            silu_of, [](wide x) { return x * sigmoid_exact(x); },
            [](T x, wide) { return sigmoid_exact(x) > 0x1p-1000L; }) <= 5);
  CHECK(worst<TestType, T>(
            softplus_of, [](wide x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, wide(0)); },
            [](T, wide value) { return value > 0x1p-1000L; }) <= 5);
  CHECK(worst<TestType, T>(tanh_of, [](wide x) { return std::tanh(x); }, always) <= 4);
  CHECK(worst<TestType, T>(
            log1p_of, [](wide x) { return std::log1p(x); }, [](T x, wide) { return x >= 0 && x <= 1; }) <= 4);
}

TEMPLATE_LIST_TEST_CASE("float: exp has the ends of its range where it says", "", test_archs) {
  const float largest = 88.722832f,
              smallest = -86.643397f;  // the last arguments of finite and of non-zero results
  CHECK(everywhere<TestType>(largest, exp_of, [](float v) { return v > 3.4e38f && std::isfinite(v); }));
  CHECK(gives<TestType>(std::nextafter(largest, 100.0f), exp_of, infinity<float>));
  CHECK(everywhere<TestType>(smallest, exp_of, [](float v) { return v > 0 && v < 0x1.1p-125f; }));
  CHECK(gives<TestType>(std::nextafter(smallest, -100.0f), exp_of, 0.0f));
}

TEMPLATE_LIST_TEST_CASE("NaN, infinities and saturation", "", test_archs) {
  ends<TestType, float>();
  ends<TestType, double>();
}
