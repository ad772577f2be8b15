// SPDX-License-Identifier: Apache-2.0
// L17: what the combinators make of the registered subjects, erased again, are subjects themselves.
#include <mneme/core/compose/chain.hpp>
#include <mneme/core/compose/parallel.hpp>
#include <mneme/core/compose/residual.hpp>
#include <mneme/core/compose/rewindable.hpp>
#include <mneme/core/compose/routed.hpp>
#include <mneme/core/compose/stack.hpp>
#include <mneme/core/compose/windowed.hpp>
#include <mneme/layer/linear.hpp>

#include "subject.hpp"

namespace mneme_test {
namespace {

enum class form { chain, residual, stack, nested, parallel, routed, windowed, gated, rewindable };
constexpr form all_forms[] = {form::chain,  form::residual, form::stack, form::nested,    form::parallel,
                              form::routed, form::windowed, form::gated, form::rewindable};
constexpr const char* form_names[] = {"chain",  "residual", "stack",          "nested",    "parallel",
                                      "routed", "windowed", "gated windowed", "rewindable"};
// Small, so that the laws see snapshots come and go and rows leave the window.
constexpr mneme::rewindable_config often{.snapshot_every = 3, .log_capacity = 9};
constexpr mneme::windowed_config short_window{.window = 4, .sinks = 1, .far_scale = 0.5};

// The same weights for every T and Backend, so that the oracle of a composition is the composition of the
// oracles.
template <class T, class Backend>
any_memory<T> bridge(index_t from, index_t to) {
  return mneme::linear<T, Backend>({.d_in = from, .d_out = to, .bias = true}, 99);
}
// m, made to give rows as wide as it takes.
template <class T, class Backend>
any_memory<T> square(any_memory<T> m) {
  if (m.d_in() == m.d_out()) return m;
  return mneme::chain(m, bridge<T, Backend>(m.d_out(), m.d_in()));
}

template <class T, class Backend>
any_memory<T> compose(form f, const any_memory<T>& m, const any_memory<T>& partner) {
  using any = any_memory<T>;
  const any even = square<T, Backend>(m);
  const index_t d = even.d_in();
  switch (f) {
    case form::chain: return mneme::chain(m, bridge<T, Backend>(m.d_out(), partner.d_in()), partner);
    case form::residual: return mneme::residual(even);
    case form::stack: return mneme::stack(std::vector<any>{even, even});
    case form::parallel: {
      const any beside = bridge<T, Backend>(m.d_in(), m.d_out());
      return mneme::parallel<mneme::join::concat>(any(mneme::parallel(m, beside)), beside);
    }
    case form::routed:
      return mneme::routed(bridge<T, Backend>(d, 3), 2,
                           std::vector<any>{even, bridge<T, Backend>(d, d), mneme::residual(even)});
    case form::windowed:
      if (m.readable())
        return mneme::windowed<mneme::recall::newest>(short_window, bridge<T, Backend>(m.d_in(), m.d_out()),
                                                      m);
      return mneme::windowed(short_window, m, m);
    case form::gated: {
      const any gate = bridge<T, Backend>(m.d_in(), m.d_out());
      if (m.readable()) return mneme::windowed<mneme::recall::newest>(short_window, gate, m, gate);
      return mneme::windowed(short_window, m, m, gate);
    }
    case form::rewindable: return mneme::rewindable(m, often);
    case form::nested: break;
  }
  const any inner = mneme::residual(even), widened = mneme::chain(bridge<T, Backend>(d, d), even);
  return mneme::residual(
      mneme::residual(mneme::stack(std::vector<any>{inner, widened, bridge<T, Backend>(d, d)})));
}
// A memory that reads token ids can only stand first.
template <class T, class Backend>
any_memory<T, token_id> compose(form f, const any_memory<T, token_id>& m, const any_memory<T>& partner) {
  const index_t d = m.d_out();
  switch (f) {
    case form::chain: return mneme::chain(m, bridge<T, Backend>(d, partner.d_in()), partner);
    case form::residual: return mneme::chain(m, any_memory<T>(mneme::residual(bridge<T, Backend>(d, d))));
    case form::rewindable: return mneme::rewindable(m, often);
    default:
      return mneme::chain(m, any_memory<T>(mneme::stack(std::vector<any_memory<T>>{
                                 bridge<T, Backend>(d, d), bridge<T, Backend>(d, d)})));
  }
}

template <class T, class Input>
subject<T, Input> composition(form f, const subject<T, Input>& s, const subject<T, T>& partner) {
  using native = mneme::default_backend<mneme::matmul>;
  subject<T, Input> c{form_names[static_cast<int>(f)] + (" of " + s.name),
                      compose<T, native>(f, s.memory, partner.memory),
                      {},
                      {},
                      s.storage_epsilon,
                      s.row_stable,
                      s.growing,
                      {}};
  if (f == form::chain) {
    c.name += " and " + partner.name;
    c.storage_epsilon += partner.storage_epsilon;
    c.row_stable = c.row_stable && partner.row_stable;
    c.growing = c.growing || partner.growing;
  }
  if (s.oracle && partner.oracle) c.oracle = compose<double, mneme::reference>(f, *s.oracle, *partner.oracle);
  return c;
}

// The subjects of one kind, family by family: every family gets every form, each on another sample, and a
// partner from another family. Odd forms in float and even ones in double, or the other way round in the next
// family: what a combinator does with rows does not depend on their type.
template <class T, class Input>
void compose_all(std::vector<any_subject>& all) {
  std::vector<std::vector<const subject<T, Input>*>> families;
  std::vector<const subject<T, T>*> partners;
  std::string last;
  for (const any_subject& any : subjects()) {
    if (const auto* s = std::get_if<subject<T, T>>(&any)) partners.push_back(s);
    const auto* s = std::get_if<subject<T, Input>>(&any);
    if (!s) continue;
    const std::string family = s->name.substr(0, s->name.find('#'));
    if (families.empty() || family != last) families.emplace_back();
    families.back().push_back(s);
    last = family;
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < families.size(); ++i)
    for (const form f : all_forms) {
      if (examines_double && (i + static_cast<std::size_t>(f)) % 2 == std::is_same_v<T, float>) continue;
      const auto& samples = families[i];
      const auto& s = *samples[(i + static_cast<std::size_t>(f)) % samples.size()];
      next += 7;  // walks over all partners
      all.push_back(composition(f, s, *partners[next % partners.size()]));
    }
}

}  // namespace

std::vector<any_subject> compositions_of(const subject<float, float>& s,
                                         const subject<float, float>& partner) {
  std::vector<any_subject> all;
  for (const form f : all_forms) all.push_back(composition(f, s, partner));
  return all;
}

const std::vector<any_subject>& composed() {
  static const std::vector<any_subject> all = [] {
    std::vector<any_subject> built;
    for_scalars([&]<class T>() { compose_all<T, T>(built); });
    compose_all<float, token_id>(built);
    add_concrete_compositions(built);
    return built;
  }();
  return all;
}

}  // namespace mneme_test
