// SPDX-License-Identifier: Apache-2.0
#include "recurrence_case.hpp"

#include "arch_list.hpp"
#include "golden.hpp"
#include "laws/compare.hpp"

#include <string>

using namespace recurrence_test;
using mneme_test::golden;
using mneme_test::test_archs;

namespace {

// Budgets of the specification for the step form: 5e-6, and 5e-4 for beta up to 2 and DPLR.
constexpr double budget(rule r) { return r.write == update::add ? 5e-6 : 5e-4; }

constexpr placement ugly{.gap = 3, .shift = 1};

template <rule R, class T, class Backend>
void agrees_with_reference(const operands<T>& given, index_t outs, double bound, placement at = {}) {
  CAPTURE(static_cast<int>(R.forget), static_cast<int>(R.write), static_cast<int>(R.read), given.tokens(),
          given.k.cols(), given.v.cols(), outs);
  const operands<double> oracle = given.widened();
  matrix<T> state = given.S;
  matrix<double> expected_state = oracle.S;
  const index_t tokens = given.tokens();
  const auto o = given.template run<R, Backend>(state, 0, tokens, outs, at);
  const auto expected = oracle.template run<R, reference>(expected_state, 0, tokens, outs);
  CHECK(relative_error(o, expected) <= bound);
  CHECK(relative_error(state, expected_state) <= bound);
}

// All tokens at once, one by one, and in pieces below and above the size from which panels are copied.
template <rule R, class T, class Backend>
void is_bit_equal_however_split(const operands<T>& p) {
  CAPTURE(static_cast<int>(R.forget), static_cast<int>(R.write), static_cast<int>(R.read), p.k.cols(),
          p.v.cols());
  const index_t tokens = p.tokens();
  matrix<T> whole_state = p.S;
  const auto whole = p.template run<R, Backend>(whole_state);
  for (const index_t piece : {1, 3, 5}) {
    CAPTURE(piece);
    matrix<T> state = p.S;
    for (index_t from = 0; from < tokens; from += piece) {
      const index_t to = std::min(from + piece, tokens);
      CHECK(mneme_test::bit_difference<T>(p.template run<R, Backend>(state, from, to, to - from).view(),
                                          whole.view().range(from, to)) == "");
    }
    CHECK(state == whole_state);
  }
  for (const index_t outs : {0, 2}) {
    matrix<T> state = p.S;
    CHECK(mneme_test::bit_difference<T>(p.template run<R, Backend>(state, 0, tokens, outs).view(),
                                        whole.view().last(outs)) == "");
    CHECK(state == whole_state);
  }
}

// The head `h` of a golden tensor [T, H, width], or of a state [H, K, V] when there is no time.
template <class T>
matrix<T> head_of(const golden& file, const std::string& name, const char* tensor, index_t h) {
  const auto values = file.values(name, tensor);
  const auto shape = file.shape(name, tensor);
  const index_t H = shape[1], width = shape.size() > 2 ? shape[2] : 1;
  matrix<T> m(shape[0], width);
  for (index_t t = 0; t < shape[0]; ++t)
    for (index_t i = 0; i < width; ++i)
      m.view()[t][i] = static_cast<T>(values[static_cast<std::size_t>((t * H + h) * width + i)]);
  return m;
}
template <class T>
matrix<T> state_of(const golden& file, const std::string& name, const char* tensor, index_t h) {
  const auto values = file.values(name, tensor);
  const auto shape = file.shape(name, tensor);
  const index_t K = shape[1], V = shape.size() > 2 ? shape[2] : 1;
  matrix<T> m(K, V);
  for (index_t i = 0; i < K * V; ++i)
    m.view()[i / V][i % V] = static_cast<T>(values[static_cast<std::size_t>(h * K * V + i)]);
  return m;
}

template <class T>
matrix<T> exponentials(matrix<T> m) {
  for (index_t t = 0; t < m.rows(); ++t)
    for (T& x : m.view()[t]) x = std::exp(x);
  return m;
}
template <class T>
matrix<T> with_column(const matrix<T>& m, const matrix<T>& column) {
  matrix<T> wide(m.rows(), m.cols() + 1);
  for (index_t r = 0; r < m.rows(); ++r) {
    std::copy(m.view()[r].begin(), m.view()[r].end(), wide.view()[r].begin());
    wide.view()[r][m.cols()] = column.view()[r][0];
  }
  return wide;
}

template <rule R, class T, class Backend>
void meets_golden_values(const char* op, double bound) {
  const golden file(op);
  for (const std::string& name : file.cases()) {
    const index_t H = file.shape(name, "q")[1];
    const bool normalised = file.flag(name, "normalize") == "1";
    for (index_t h = 0; h < H; ++h) {
      CAPTURE(op, name, h);
      operands<T> p;
      p.q = head_of<T>(file, name, "q", h), p.k = head_of<T>(file, name, "k", h),
      p.v = head_of<T>(file, name, "v", h);
      p.S = state_of<T>(file, name, "s0", h);
      if (R.forget == decay::key) p.keys = exponentials(head_of<T>(file, name, "gk", h));
      if (R.forget == decay::scalar) p.scalars = exponentials(head_of<T>(file, name, "g", h));
      if (R.write == update::delta) p.beta = head_of<T>(file, name, "beta", h);
      for (index_t t = 0; t < p.tokens(); ++t) scale_row(p.q.view()[t], file.value(name, "scale"));
      auto expected = head_of<double>(file, name, "o", h),
           expected_state = state_of<double>(file, name, "s1", h);
      if (normalised) {  // the normaliser is the state of a value column of ones
        p.v = with_column(p.v, matrix<T>(p.tokens(), 1, {}, T(1)));
        p.S = with_column(p.S, state_of<T>(file, name, "z0", h));
        expected_state = with_column(expected_state, state_of<double>(file, name, "z1", h));
      }
      auto o = p.template run<R, Backend>(p.S);
      if (normalised) {
        const index_t V = o.cols() - 1;
        matrix<T> divided(o.rows(), V);
        for (index_t t = 0; t < o.rows(); ++t)
          for (index_t j = 0; j < V; ++j) divided.view()[t][j] = o.view()[t][j] / (o.view()[t][V] + T(1e-10));
        o = divided;
      }
      CHECK(relative_error(o, expected) <= bound);
      CHECK(relative_error(p.S, expected_state) <= bound);
    }
  }
}
}  // namespace

TEST_CASE("recurrence meets the golden values without gates") {
  meets_golden_values<rules::linear_attention, double, reference>("linear_attention", 1e-12);
  meets_golden_values<rules::linear_attention, double, native>("linear_attention", 1e-12);
  meets_golden_values<rules::linear_attention, float, native>("linear_attention", 5e-6);
}

TEST_CASE("recurrence reference meets the golden values") {
  meets_golden_values<rules::gla, double, reference>("gla", 1e-12);
  meets_golden_values<rules::gated_delta_net, double, reference>("gated_delta_rule", 1e-12);
}

TEMPLATE_LIST_TEST_CASE("recurrence meets the golden values", "", test_archs) {
  meets_golden_values<rules::gla, double, cpu<TestType>>("gla", 1e-12);
  meets_golden_values<rules::gla, float, cpu<TestType>>("gla", 5e-6);
  meets_golden_values<rules::gated_delta_net, double, cpu<TestType>>("gated_delta_rule", 1e-12);
  meets_golden_values<rules::gated_delta_net, float, cpu<TestType>>("gated_delta_rule", 5e-6);
}

TEST_CASE("recurrence agrees with its reference under every rule") {
  for_each_rule([]<rule R>() {
    for (const auto& [K, V] :
         {std::pair<index_t, index_t>{1, 1}, {3, 2}, {5, 16}, {2, 131}, {9, 67}, {16, 255}})
      for (const index_t tokens : {1, 2, 7}) {
        const auto p = random_operands<float>(tokens, K, V, 11, ugly);
        agrees_with_reference<R, float, native>(p, tokens, budget(R), ugly);
        agrees_with_reference<R, float, native>(p, tokens / 2, budget(R), ugly);
      }
    is_bit_equal_however_split<R, float, native>(random_operands<float>(13, 9, 199, 12, ugly));
  });
}

TEMPLATE_LIST_TEST_CASE("recurrence agrees with its reference on every architecture", "", test_archs) {
  using backend = cpu<TestType>;
  const auto examine = []<rule R>() {
    for (const auto& [K, V] : {std::pair<index_t, index_t>{1, 3}, {17, 37}, {8, 64}}) {
      agrees_with_reference<R, float, backend>(random_operands<float>(9, K, V, 21, ugly), 9, budget(R), ugly);
      agrees_with_reference<R, double, backend>(random_operands<double>(9, K, V, 22), 5, 1e-13);
      is_bit_equal_however_split<R, float, backend>(random_operands<float>(13, K, V, 23));
    }
  };
  examine.template operator()<rules::gla>();
  examine.template operator()<rules::gated_delta_net>();
}

TEST_CASE("recurrence agrees with its reference where a panel outgrows the nearest cache") {
  agrees_with_reference<rules::gated_delta_net, float, native>(random_operands<float>(6, 300, 70, 31), 6,
                                                               budget(rules::gated_delta_net));
  is_bit_equal_however_split<rules::gated_delta_net, float, native>(random_operands<float>(11, 300, 200, 32));
}

TEST_CASE("recurrence stays within its budget over a thousand tokens") {
  agrees_with_reference<rules::gla, float, native>(random_operands<float>(1024, 128, 19, 41), 1024, 5e-6);
  agrees_with_reference<rules::gated_delta_net, float, native>(random_operands<float>(1024, 128, 19, 42),
                                                               1024, 5e-6);
}

TEST_CASE("recurrence over no token changes nothing") {
  const auto p = random_operands<float>(3, 5, 21, 51);
  matrix<float> state = p.S;
  p.run<rules::gated_delta_net, native>(state, 1, 1, 0);
  p.run<rules::gla, reference>(state, 1, 1, 0);
  CHECK(state == p.S);
}
