// SPDX-License-Identifier: Apache-2.0
#include "catch.hpp"
#include "golden.hpp"
#include "recurrence_laws.hpp"

#include <string>

using namespace recurrence_test;

namespace {

template <rule... R>
family kernels_of_rules() {
  return {{R, reference_of<recurrence<R>, double>, native_of<recurrence<R>, float>}...};
}
// Every decay with every update, and every update with both reads; no line of the kernel looks at decay and
// reads. Under AddressSanitizer, whose kernels compile slowly, every operand.
const family& kernels() {
  using enum decay;
  static const family all =
#if defined(__SANITIZE_ADDRESS__)
      kernels_of_rules<rules::gla, rules::gated_delta_net, rule{value, update::delta, reads::before},
                       rules::rwkv7>();
#else
      kernels_of_rules<rules::linear_attention, rules::retnet, rules::gla, rules::rwkv6,
                       rule{value, update::add}, rules::delta_net, rules::gated_delta_net, rules::kda,
                       rule{value, update::delta, reads::before}, rule{none, update::dplr, reads::before},
                       rules::comba, rules::rwkv7, rule{value, update::dplr}>();
#endif
  return all;
}
// The rules of the golden values; on every architecture the second, which recalls, erases and fades.
constexpr rule gla = rules::gla, gated = rules::gated_delta_net;
template <class T>
double error_against(const operands<T>& p, rule r, recurrence_kernel<T> kernel,
                     recurrence_kernel<double> oracle) {
  const auto got = p.run(r, kernel);
  const auto expected = p.widened().run(r, oracle);
  return std::max(relative_error(got.outputs, expected.outputs),
                  relative_error(got.state[0], expected.state[0]));
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

template <class T>
void meets_golden_values(rule r, recurrence_kernel<T> kernel, const char* op, double bound) {
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
      if (r.forget == decay::key) p.keys = exponentials(head_of<T>(file, name, "gk", h));
      if (r.forget == decay::scalar) p.scalars = exponentials(head_of<T>(file, name, "g", h));
      if (r.write == update::delta) p.beta = head_of<T>(file, name, "beta", h);
      for (index_t t = 0; t < p.tokens(); ++t) scale_row(p.q.view()[t], file.value(name, "scale"));
      auto expected = head_of<double>(file, name, "o", h),
           expected_state = state_of<double>(file, name, "s1", h);
      if (normalised) {  // the normaliser is the state of a value column of ones
        p.v = with_column(p.v, matrix<T>(p.tokens(), 1, {}, T(1)));
        p.S = with_column(p.S, state_of<T>(file, name, "z0", h));
        expected_state = with_column(expected_state, state_of<double>(file, name, "z1", h));
      }
      op_result<T> got = p.run(r, kernel);
      if (normalised) {
        const matrix<T>& o = got.outputs;
        const index_t V = o.cols() - 1;
        matrix<T> divided(o.rows(), V);
        for (index_t t = 0; t < o.rows(); ++t)
          for (index_t j = 0; j < V; ++j) divided.view()[t][j] = o.view()[t][j] / (o.view()[t][V] + T(1e-10));
        got.outputs = divided;
      }
      CHECK(relative_error(got.outputs, expected) <= bound);
      CHECK(relative_error(got.state[0], expected_state) <= bound);
    }
  }
}
}  // namespace

TEST_CASE("recurrence meets the golden values") {
  if (const member* m = find(kernels(), rule{}))
    meets_golden_values<float>(rule{}, m->kernel, "linear_attention", 5e-6);
  meets_golden_values<float>(gla, native_of<recurrence<gla>, float>, "gla", 5e-6);
  for (const auto& [arch, run] : kernels_of<recurrence<gated>, float>())
    meets_golden_values<float>(gated, run, "gated_delta_rule", 5e-6);
  meets_golden_values<double>({}, reference_of<recurrence<rule{}>, double>, "linear_attention", 1e-12);
  meets_golden_values<double>(gla, reference_of<recurrence<gla>, double>, "gla", 1e-12);
  for (const auto run : {reference_of<recurrence<gated>, double>, native_of<recurrence<gated>, double>})
    meets_golden_values<double>(gated, run, "gated_delta_rule", 1e-12);
}

TEST_CASE("recurrence agrees with its reference", "[L16][recurrence]") {
  CHECK(backend_fault(kernels()) == "");
  const auto oracle = reference_of<recurrence<gated>, double>;
  for (const auto& [arch, run] : kernels_of<recurrence<gated>, float>()) {
    CAPTURE(arch);
    CHECK(backend_fault<float>(gated, run, oracle, budget(gated)) == "");
  }
  CHECK(backend_fault<double>(gated, native_of<recurrence<gated>, double>, oracle, 1e-13) == "");
}

TEST_CASE("recurrence is bit-equal however tokens are split into calls") {
  const auto given = random_operands<float>(13, 9, 199, 12, ugly);
  for (const member& m : kernels()) {
    CAPTURE(name_of(m.is));
    CHECK(split_fault(given.with(m.is, m.kernel), {given.S}, 13) == "");
  }
  for (const auto& [K, V] : {std::pair<index_t, index_t>{1, 3}, {17, 37}, {8, 64}}) {
    const auto p = random_operands<float>(13, K, V, 23);
    for (const auto& [arch, run] : kernels_of<recurrence<gated>, float>()) {
      CAPTURE(arch, K, V);
      CHECK(split_fault(p.with(gated, run), {p.S}, 13) == "");
    }
  }
}

TEST_CASE("recurrence where a panel outgrows the nearest cache") {
  const auto run = native_of<recurrence<gated>, float>;
  const auto narrow = random_operands<float>(6, 300, 70, 31), wide = random_operands<float>(6, 300, 200, 32);
  CHECK(error_against(narrow, gated, run, reference_of<recurrence<gated>, double>) <= budget(gated));
  CHECK(split_fault(wide.with(gated, run), {wide.S}, 6) == "");
}

TEST_CASE("recurrence stays within its budget over a thousand tokens") {
  const auto p = random_operands<float>(1024, 128, 19, 41);
  CHECK(error_against(p, gla, native_of<recurrence<gla>, float>, reference_of<recurrence<gla>, double>) <=
        5e-6);
  CHECK(error_against(p, gated, native_of<recurrence<gated>, float>,
                      reference_of<recurrence<gated>, double>) <= 5e-6);
}

TEST_CASE("recurrence stays finite under the strongest decay") {  // P8: log decay -80 in every step
  auto p = random_operands<float>(200, 6, 21);
  for (matrix<float>* m : {&p.scalars, &p.keys, &p.values})
    for (index_t t = 0; t < 200; ++t) std::fill(m->view()[t].begin(), m->view()[t].end(), std::exp(-80.0f));
  for (const member& m : kernels()) {
    if (m.is.forget == decay::none) continue;
    CAPTURE(name_of(m.is));
    const auto got = p.run(m.is, m.kernel);
    bool finite = true;
    for (const matrix<float>* x : {&got.outputs, &got.state[0]})
      for (index_t r = 0; r < x->rows(); ++r)
        for (const float v : x->view()[r]) finite = finite && std::isfinite(v);
    CHECK(finite);
  }
}

TEST_CASE("recurrence over no token changes nothing") {
  const auto p = random_operands<float>(3, 5, 21, 51);
  for (const member& m : kernels()) {
    tensors<float> state{p.S};
    p.with(m.is, m.kernel)(state, 1, 1, 0);
    CHECK(state[0] == p.S);
  }
  tensors<float> state{p.S};
  p.with(gla, reference_of<recurrence<gla>, float>)(state, 1, 1, 0);
  CHECK(state[0] == p.S);
}
