// SPDX-License-Identifier: Apache-2.0
#include "op_laws.hpp"

#include "laws/compare.hpp"

namespace mneme_test {
namespace {

template <class T>
std::string examine_backend(const op_run<T>& kernel, const tensors<T>& start, index_t tokens, index_t outs,
                            const op_result<double>& expected, const tolerance& allowed) {
  const op_result<T> got = result_of(kernel, start, tokens, outs),
                     again = result_of(kernel, start, tokens, outs);
  const auto examine = [&](const matrix<T>& one, const matrix<T>& other, const matrix<double>& right) {
    if (!one.surrounding_untouched()) return std::string("something beside the rows is written");
    const std::string apart = difference<T, double>(one, right, allowed);
    if (!apart.empty()) return apart;
    const std::string unstable = bit_difference<T>(other, one);
    return unstable.empty() ? "" : "the second time " + unstable;
  };
  std::string found = examine(got.outputs, again.outputs, expected.outputs);
  if (!found.empty()) return "outputs: " + found;
  for (std::size_t i = 0; i < start.size(); ++i) {
    found = examine(got.state[i], again.state[i], expected.state[i]);
    if (!found.empty()) return "state " + std::to_string(i) + ": " + found;
  }
  return {};
}

}  // namespace

std::string backend_fault(const op_run<float>& kernel, const tensors<float>& start, index_t tokens,
                          index_t outs, const op_result<double>& expected, const tolerance& allowed) {
  return examine_backend<float>(kernel, start, tokens, outs, expected, allowed);
}
std::string backend_fault(const op_run<double>& kernel, const tensors<double>& start, index_t tokens,
                          index_t outs, const op_result<double>& expected, const tolerance& allowed) {
  return examine_backend<double>(kernel, start, tokens, outs, expected, allowed);
}

std::string split_fault(const op_run<float>& kernel, const tensors<float>& start, index_t tokens) {
  const op_result<float> whole = result_of(kernel, start, tokens, tokens);
  tensors<float> state = start;
  std::string found;
  const auto compare = [&](const matrix<float>& got, index_t from, index_t to, const char* how) {
    const std::string apart = bit_difference<float>(got, whole.outputs.view().range(from, to));
    if (found.empty() && !apart.empty()) found = how + std::to_string(from) + ": " + apart;
  };
  const auto ended = [&](const char* how, index_t at) {
    if (found.empty() && state != whole.state) found = how + std::to_string(at) + ": another state";
    state = start;
  };
  for (index_t t = 0; t < tokens; ++t) compare(kernel(state, t, t + 1, 1), t, t + 1, "token ");
  ended("tokens up to ", tokens);
  for (index_t cut = 0; cut <= tokens; ++cut) {
    kernel(state, 0, cut, 0);  // nobody reads these outputs
    compare(kernel(state, cut, tokens, tokens - cut), cut, tokens, "cut before ");
    ended("cut before ", cut);
    compare(kernel(state, 0, tokens, tokens - cut), cut, tokens, "outputs from ");
    ended("outputs from ", cut);
  }
  return found;
}

std::string company_fault(const op_run<float>& kernel, index_t rows) {
  tensors<float> none;
  const matrix<float> whole = kernel(none, 0, rows, rows);
  for (const index_t some : {1, 2, 5, 7, 13, 50})
    for (index_t from = 0; from + some <= rows; from += rows / 6 + 1) {
      const std::string apart =
          bit_difference<float>(kernel(none, from, from + some, some), whole.view().range(from, from + some));
      if (!apart.empty()) return std::to_string(some) + " rows from " + std::to_string(from) + ": " + apart;
    }
  return {};
}

std::string monoid_fault(const stretches& s, const tolerance& allowed) {
  const index_t n = s.length;
  for (const std::vector<index_t>& ends : {std::vector<index_t>{0, n},
                                           {0, 1, n},
                                           {0, n / 4, n / 3, n},
                                           {0, n / 2, n - 1, n},
                                           {0, 0, n / 3, n / 3, n - n / 4, n}}) {
    std::any left = s.of(0, 0), right = s.of(n, n);  // ((a b) c) and (a (b c))
    for (std::size_t i = 1; i < ends.size(); ++i) left = s.merged(left, s.of(ends[i - 1], ends[i]));
    for (std::size_t i = ends.size(); --i > 0;) right = s.merged(s.of(ends[i - 1], ends[i]), right);
    const auto parts = std::to_string(ends.size() - 1) + " stretches, merged from the ";
    std::string apart = difference<double, double>(s.applied(left), s.sequence, allowed);
    if (!apart.empty()) return parts + "left: " + apart;
    apart = difference<double, double>(s.applied(right), s.sequence, allowed);
    if (!apart.empty()) return parts + "right: " + apart;
  }
  const std::any some = s.of(n / 4, n - 1), none = s.of(n / 2, n / 2);
  if (!s.same(s.merged(none, some), some)) return "an empty stretch before another changes it";
  if (!s.same(s.merged(some, none), some)) return "an empty stretch after another changes it";
  return {};
}

}  // namespace mneme_test
