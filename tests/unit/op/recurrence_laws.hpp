// SPDX-License-Identifier: Apache-2.0
// The laws of ops on the recurrence family: L12 of its segments, L16 of its kernels, L20 of its rules. Each
// returns what is wrong, nothing if the law holds.
#pragma once
#include <mneme/op/segment.hpp>

#include "recurrence_case.hpp"

namespace recurrence_test {

// One rule as the laws look at it. A pointer that is null is not asked.
struct member {
  rule is;
  recurrence_kernel<double> reference;
  recurrence_kernel<float> kernel = nullptr;                 // on packs
  stretches (*segments)(const operands<double>&) = nullptr;  // of the tokens of the operands
};
using family = std::vector<member>;  // L20 asks for all rules that have a name

// Null if the family is without it.
inline const member* find(const family& f, rule r) {
  for (const member& m : f)
    if (m.is.forget == r.forget && m.is.write == r.write && m.is.read == r.read) return &m;
  return nullptr;
}

inline std::string name_of(rule r) {
  static constexpr const char *forgets[] = {"no decay", "scalar decay", "key decay", "value decay"},
                              *writes[] = {"add", "delta", "dplr"}, *reads[] = {"after", "before"};
  return std::string(forgets[static_cast<int>(r.forget)]) + ", " + writes[static_cast<int>(r.write)] +
         ", read " + reads[static_cast<int>(r.read)];
}

// ---- L12

// The tokens of `given`, which stays where it is, as segments of rule R. `sequence` is left to the caller.
template <rule R, template <rule, class> class Segment = segment>
stretches segments_of(const operands<double>& given) {
  using S = Segment<R, double>;
  return {.length = given.tokens(),
          .of = [&given](index_t from, index_t to) -> std::any { return S::of(given.rows(R, from, to, 0)); },
          .merged = [](const std::any& a, const std::any& b) -> std::any {
            return merge(std::any_cast<const S&>(a), std::any_cast<const S&>(b));
          },
          .applied =
              [&given](const std::any& s) {
                matrix<double> after = given.S;
                std::any_cast<const S&>(s).apply(after.view());
                return after;
              },
          .same = [](const std::any& a,
                     const std::any& b) { return std::any_cast<const S&>(a) == std::any_cast<const S&>(b); },
          .sequence = {}};
}

inline std::string monoid_fault(const family& f) {
  const auto given = random_operands<double>(12, 5, 7, 23);
  for (const member& m : f) {
    if (!m.segments) continue;
    stretches s = m.segments(given);
    s.sequence = given.run(m.is, m.reference).state[0];
    const std::string found = mneme_test::monoid_fault(s, within(1e-12));
    if (!found.empty()) return name_of(m.is) + ": " + found;
  }
  return {};
}

// ---- L16

// Budgets of the specification for the step form: 5e-6, and 5e-4 for beta up to 2 and dplr.
inline double budget(rule r) { return r.write == update::add ? 5e-6 : 5e-4; }

// Around the widths of packs and panels, rows anywhere, from no output to all.
template <class T>
std::string backend_fault(rule r, recurrence_kernel<T> kernel, recurrence_kernel<double> reference,
                          double bound) {
  for (const auto& [K, V] :
       {std::pair<index_t, index_t>{1, 1}, {3, 2}, {5, 16}, {2, 131}, {9, 67}, {16, 255}})
    for (const index_t tokens : {1, 2, 7})
      for (const index_t outs : {tokens, tokens / 2}) {
        const auto given = random_operands<T>(tokens, K, V, 11, ugly);
        const auto oracle = given.widened();
        const auto expected = result_of<double>(oracle.with(r, reference), {oracle.S}, tokens, outs);
        const std::string found = mneme_test::backend_fault(given.with(r, kernel, ugly), {given.S}, tokens,
                                                            outs, expected, within(bound));
        if (!found.empty())
          return name_of(r) + ", S [" + std::to_string(K) + ", " + std::to_string(V) + "], " +
                 std::to_string(tokens) + " tokens: " + found;
      }
  return {};
}
inline std::string backend_fault(const family& f) {
  for (const member& m : f) {
    if (!m.kernel) continue;
    const std::string found = backend_fault<float>(m.is, m.kernel, m.reference, budget(m.is));
    if (!found.empty()) return found;
  }
  return {};
}

// ---- L20: gates at 0 and 1, and equal gates, turn one rule into another. Asked of the references; that
// kernels agree with those is L16.

inline matrix<double> constant(index_t rows, index_t cols, double value) {
  return matrix<double>(rows, cols, {}, value);
}
// Every row filled with its own number.
inline matrix<double> spread(const matrix<double>& column, index_t cols) {
  matrix<double> m(column.rows(), cols);
  for (index_t t = 0; t < m.rows(); ++t)
    std::fill(m.view()[t].begin(), m.view()[t].end(), column.view()[t][0]);
  return m;
}
// Rows of x, each times the number of its row; or element by element.
inline matrix<double> times(const matrix<double>& x, const matrix<double>& y) {
  matrix<double> m = x;
  for (index_t t = 0; t < m.rows(); ++t)
    for (index_t i = 0; i < m.cols(); ++i) m.view()[t][i] *= y.view()[t][y.cols() == 1 ? 0 : i];
  return m;
}
// A delta rule that erases after the decay `keys`, written as dplr: a = alpha o k, b = -beta k, v -> beta v.
inline operands<double> as_dplr(operands<double> p, const matrix<double>& keys) {
  p.a = times(keys, p.k);
  p.b = times(times(p.k, p.beta), constant(p.tokens(), 1, -1));
  p.v = times(p.v, p.beta);
  return p;
}
// `count` <= K tokens with orthonormal keys, by Gram and Schmidt, an empty state, and beta = 1.
inline operands<double> orthonormal(index_t count, index_t K, index_t V) {
  auto p = random_operands<double>(count, K, V, 91);
  for (index_t t = 0; t < count; ++t) {
    const auto k = p.k.view()[t];
    for (int twice = 0; twice < 2; ++twice)
      for (index_t s = 0; s < t; ++s) {
        double along = 0;
        for (index_t i = 0; i < K; ++i) along += k[i] * p.k.view()[s][i];
        for (index_t i = 0; i < K; ++i) k[i] -= along * p.k.view()[s][i];
      }
    to_unit_length(k);
  }
  p.S = constant(K, V, 0);
  p.beta = constant(count, 1, 1);
  return p;
}

struct identity {
  const char* name;
  std::string (*fault)(const family&);
};

namespace reductions {
constexpr double tight = 1e-13;
constexpr index_t tokens = 9, K = 6, V = 21;

// Compares pairs of answers: the outputs and states of one rule on one input, of another on another.
class pairs {
 public:
  explicit pairs(const family& f) : family_(f) {}
  pairs& same(rule r, const operands<double>& p, rule s, const operands<double>& q) {
    const auto x = p.run(r, find(family_, r)->reference), y = q.run(s, find(family_, s)->reference);
    if (!(relative_error(x.outputs, y.outputs) <= tight && relative_error(x.state[0], y.state[0]) <= tight))
      found_ += "(" + name_of(r) + ") is not (" + name_of(s) + "); ";
    return *this;
  }
  pairs& same(rule r, rule s, const operands<double>& p) { return same(r, p, s, p); }
  operator std::string() const { return found_; }

 private:
  const family& family_;
  std::string found_;
};

inline std::string equal_decays(const family& f) {  // R1, R2, R9
  auto p = random_operands<double>(tokens, K, V);
  p.keys = spread(p.scalars, K), p.values = spread(p.scalars, V);
  return pairs(f)
      .same(rules::gla, rules::retnet, p)
      .same(rule{.forget = decay::value}, rules::retnet, p)
      .same(rules::kda, rules::gated_delta_net, p)
      .same(rules::rwkv7, rules::comba, p);
}
inline std::string decays_of_one(const family& f) {  // R1, R9, R12
  auto p = random_operands<double>(tokens, K, V);
  p.scalars = constant(tokens, 1, 1), p.keys = constant(tokens, K, 1), p.values = constant(tokens, V, 1);
  return pairs(f)
      .same(rules::retnet, rules::linear_attention, p)
      .same(rules::gla, rules::linear_attention, p)
      .same(rule{.forget = decay::value}, rules::linear_attention, p)
      .same(rules::gated_delta_net, rules::delta_net, p)
      .same(rules::rwkv7, rule{.write = update::dplr}, p);
}
inline std::string decays_of_zero(const family& f) {  // R24
  constexpr index_t at = 4;
  auto p = random_operands<double>(tokens, K, V);
  p.scalars.view()[at][0] = 0;
  for (auto* m : {&p.keys, &p.values, &p.a}) std::fill(m->view()[at].begin(), m->view()[at].end(), 0.0);
  for (const member& m : f) {
    if (m.is.forget == decay::none || m.is.read == reads::before) continue;
    tensors<double> whole{p.S}, fresh{constant(K, V, 0)};
    const auto run = p.with(m.is, m.reference);
    const auto o = run(whole, 0, tokens, tokens - at), anew = run(fresh, at, tokens, tokens - at);
    if (!(relative_error(o, anew) <= tight && relative_error(whole[0], fresh[0]) <= tight))
      return name_of(m.is) + " remembers";
  }
  return {};
}
inline std::string dplr_spans(const family& f) {  // R8, R9, R12
  const auto p = random_operands<double>(tokens, K, V);
  auto additive = p;
  additive.b = constant(tokens, K, 0);
  return pairs(f)
      .same(rules::rwkv7, as_dplr(p, p.keys), rules::kda, p)
      .same(rules::comba, as_dplr(p, spread(p.scalars, K)), rules::gated_delta_net, p)
      .same(rule{.write = update::dplr}, as_dplr(p, constant(tokens, K, 1)), rules::delta_net, p)
      .same(rules::rwkv7, additive, rules::gla, p);
}
inline std::string nothing_written(const family& f) {  // R8
  auto p = random_operands<double>(tokens, K, V), faded = p;
  p.beta = constant(tokens, 1, 0);
  faded.v = constant(tokens, V, 0);
  return pairs(f)
      .same(rules::kda, p, rules::gla, faded)
      .same(rules::gated_delta_net, p, rules::retnet, faded)
      .same(rules::delta_net, p, rules::linear_attention, faded);
}
inline std::string orthonormal_keys(const family& f) {  // R10
  auto p = orthonormal(K, K, V);
  p.beta = random_operands<double>(K, K, V, 92).beta;
  auto added = p;
  added.v = times(p.v, p.beta);
  return pairs(f).same(rules::delta_net, p, rules::linear_attention, added);
}
inline std::string reflections(const family& f) {  // R11: in all directions of the keys
  auto p = orthonormal(K, K, V);
  p.S = random_operands<double>(1, K, V, 93).S;
  p.beta = constant(K, 1, 2), p.v = constant(K, V, 0);
  const auto turned = p.run(rules::delta_net, find(f, rules::delta_net)->reference).state[0];
  return relative_error(times(turned, constant(K, 1, -1)), p.S) <= tight ? "" : "not the negative state";
}
inline std::string read_before(const family& f) {  // R3
  const auto p = random_operands<double>(tokens, K, V);
  const auto before = p.run(rules::rwkv6, find(f, rules::rwkv6)->reference);
  const auto write = p.with(rules::gla, find(f, rules::gla)->reference);
  tensors<double> state{p.S};
  matrix<double> read = constant(tokens, V, 0);
  for (index_t t = 0; t < tokens; ++t) {
    for (index_t i = 0; i < K; ++i)
      for (index_t j = 0; j < V; ++j) read.view()[t][j] += state[0].view()[i][j] * p.q.view()[t][i];
    write(state, t, t + 1, 0);
  }
  if (!(relative_error(before.outputs, read) <= tight)) return "another output";
  return relative_error(before.state[0], state[0]) <= tight ? "" : "another state";
}
}  // namespace reductions

inline constexpr identity identities[] = {
    {"equal decays are one decay", reductions::equal_decays},
    {"a decay of one keeps", reductions::decays_of_one},
    {"a decay of exactly zero starts anew", reductions::decays_of_zero},
    {"dplr spans the other writes", reductions::dplr_spans},
    {"a delta rule that writes nothing only fades", reductions::nothing_written},
    {"a delta rule over orthonormal keys adds", reductions::orthonormal_keys},
    {"a delta rule of strength two reflects", reductions::reflections},
    {"reading before the write reads the state of the token before", reductions::read_before},
};

inline std::string reduction_fault(const family& f) {
  for (const identity& i : identities)
    if (const std::string found = i.fault(f); !found.empty()) return std::string(i.name) + ": " + found;
  return {};
}

}  // namespace recurrence_test
