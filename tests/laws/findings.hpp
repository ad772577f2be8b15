// SPDX-License-Identifier: Apache-2.0
// What a law returns: how much it checked and what it found wrong. Laws do not assert, so that mutants can be
// caught.
#pragma once
#include "compare.hpp"
#include "subject.hpp"

namespace mneme_test {

inline constexpr std::uint64_t law_seed = 30517;  // of all inputs; a failure prints it

struct violation {
  std::string what;  // subject, circumstance, first difference
};

struct findings {
  std::vector<violation> violations;
  std::size_t checks = 0;
};

// One law looking at one subject. "Equal" means bits where the subject is row-stable, else within tolerance.
template <class T, class Input>
class examination {
 public:
  using state = mneme::any_state<T>;

  explicit examination(const subject<T, Input>& s) : subject_(s) {}

  const subject<T, Input>& on() const { return subject_; }
  const any_memory<T, Input>& memory() const { return subject_.memory; }
  findings result() && { return std::move(findings_); }

  // Rows for this subject; another `salt` gives other rows.
  matrix<Input> rows(index_t n, std::uint64_t salt = 0) const {
    return random_rows<Input>(n, memory().d_in(), memory().vocabulary(), law_seed + salt);
  }
  // Enough rows to fill what is bounded and to go on for a while.
  index_t length() const {
    return memory().evicting() ? std::clamp<index_t>(2 * memory().capacity() + 5, 19, 80) : 19;
  }
  mneme_test::tolerance tolerance(index_t rows_seen) const {
    return {epsilon<T>, subject_.storage_epsilon, rows_seen, std::max(memory().d_in(), memory().d_out())};
  }

  // `where` is called for its text only when something is wrong; it takes no arguments.
  template <class Where>
  void no_difference(const std::string& difference, Where&& where) {
    ++findings_.checks;
    if (difference.empty() || findings_.violations.size() >= 3) return;
    findings_.violations.push_back({subject_.name + " (" + shape() + "), " + where() + ": " + difference +
                                    " (seed " + std::to_string(law_seed) + ")"});
  }
  template <class Where>
  void holds(bool condition, Where&& where) {
    no_difference(condition ? "" : "does not hold", where);
  }

  template <class Where>
  void same_bits(mneme::mat_view<const T> got, mneme::mat_view<const T> expected, Where&& where) {
    no_difference(bit_difference(got, expected), where);
  }
  template <class Where>
  void same_bits(const state& got, const state& expected, Where&& where) {
    std::string found = state_bit_difference(got, expected);
    if (found.empty() && !(got == expected)) found = "states of equal bits compare unequal";
    no_difference(found, [&] { return where() + ", state"; });
  }
  template <class Where>
  void equal(mneme::mat_view<const T> got, mneme::mat_view<const T> expected, index_t rows_seen,
             Where&& where) {
    if (subject_.row_stable)
      same_bits(got, expected, where);
    else
      no_difference(difference(got, expected, tolerance(rows_seen)), where);
  }
  template <class Where>
  void equal(const state& got, const state& expected, index_t rows_seen, Where&& where) {
    if (subject_.row_stable)
      same_bits(got, expected, where);
    else
      no_difference(state_difference(got, expected, tolerance(rows_seen)),
                    [&] { return where() + ", state"; });
  }

 private:
  // What an erased memory says of its config: "5 -> 5, capacity 4".
  std::string shape() const {
    std::string text = std::to_string(memory().d_in()) + " -> " + std::to_string(memory().d_out());
    if (memory().evicting()) text += ", capacity " + std::to_string(memory().capacity());
    return text;
  }

  const subject<T, Input>& subject_;
  findings findings_;
};

// One stream of a subject. Outputs are poison until written.
template <class T, class Input>
class stream {
 public:
  stream(const any_memory<T, Input>& m, context& ctx) : memory_(m), ctx_(ctx), past(m.init()) {}
  stream(const any_memory<T, Input>& m, context& ctx, mneme::any_state<T> from)
      : memory_(m), ctx_(ctx), past(std::move(from)) {}

  // The last `outs` outputs of one call (all unless said).
  matrix<T> scan(mneme::mat_view<const Input> X, index_t outs = -1, placement p = {}) {
    matrix<T> Y(outs < 0 ? X.rows() : outs, memory_.d_out(), p);
    memory_.scan(ctx_, past, X, Y.view());
    return Y;
  }
  // One call per row.
  matrix<T> steps(mneme::mat_view<const Input> X) {
    matrix<T> Y(X.rows(), memory_.d_out());
    for (index_t t = 0; t < X.rows(); ++t) memory_.step(ctx_, past, X[t], Y.view()[t]);
    return Y;
  }

 private:
  const any_memory<T, Input>& memory_;
  context& ctx_;

 public:
  mneme::any_state<T> past;
};

// Runs a law body, template over the subject, on whatever kind of subject it is.
template <class Body>
findings examine(const any_subject& s, Body&& body) {
  return std::visit(
      [&]<class T, class Input>(const subject<T, Input>& one) {
        examination<T, Input> e(one);
        body(e);
        return std::move(e).result();
      },
      s);
}

}  // namespace mneme_test
