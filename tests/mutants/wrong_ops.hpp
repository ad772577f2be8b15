// SPDX-License-Identifier: Apache-2.0
// Mutants of ops, in what the laws of ops look at: kernels, references and segments of the recurrence family,
// and partial answers.
#pragma once
#include "../unit/op/attention_case.hpp"
#include "../unit/op/recurrence_laws.hpp"

namespace mneme_test::mutants {

using mneme::mat_view;
using mneme::recurrence;
using mneme::recurrence_rows;
using mneme::rule;
using mneme::segment;

// Backends. In double the reference, in float the kernel on packs:
struct right {};
struct wrong_tail {};  // columns that fill no pack read a little less
struct restless {};    // every other call rounds one number otherwise, as threads that end in any order may
// A rule that is wrong alike in reference, kernel and segments: its gates do not reach 0 or 1.
struct reach {
  double low_alpha = 0, high_alpha = 1, low_beta = 0;
};
template <reach To>
struct narrow_gates {
  template <class T>
  struct operands {
    matrix<T> alpha, beta;
    recurrence_rows<T> in;
    explicit operands(const recurrence_rows<T>& given)
        : alpha(given.alpha, {}), beta(given.beta, {}), in(given) {
      for (index_t t = 0; t < alpha.rows(); ++t)
        for (T& a : alpha.view()[t]) a = std::clamp(a, T(To.low_alpha), T(To.high_alpha));
      for (index_t t = 0; t < beta.rows(); ++t)
        for (T& b : beta.view()[t]) b = std::max(b, T(To.low_beta));
      in.alpha = alpha, in.beta = beta;
    }
  };
  template <rule R, class T>
  struct segments : segment<R, T> {
    segments(segment<R, T> s) : segment<R, T>(std::move(s)) {}
    static segments of(const recurrence_rows<T>& in) { return segment<R, T>::of(operands<T>(in).in); }
    friend segments merge(const segments& a, const segments& b) {
      return merge(static_cast<const segment<R, T>&>(a), static_cast<const segment<R, T>&>(b));
    }
  };
};
using never_keeps = narrow_gates<reach{.high_alpha = 0.999}>;
using never_forgets = narrow_gates<reach{.low_alpha = 1e-3}>;
using always_erases = narrow_gates<reach{.low_beta = 1e-3}>;

// Segments. A merge that adds what both have written, as if the later one let it be:
template <rule R, class T>
struct drops_decay {
  segment<R, T> both;
  matrix<T> written;  // by the one and by the other

  static drops_decay of(const recurrence_rows<T>& in) {
    const auto s = segment<R, T>::of(in);
    return {s, written_by(s, in.k.cols(), in.v.cols())};
  }
  friend drops_decay merge(const drops_decay& a, const drops_decay& b) {
    return {merge(a.both, b.both), sum(a.written, b.written, T(1))};
  }
  void apply(mat_view<T> S) const {
    both.apply(S);
    const auto H = written_by(both, S.rows(), S.cols());
    const auto right = sum(matrix<T>(S, {}), sum(written, H, T(-1)), T(1));
    for (index_t i = 0; i < S.rows(); ++i)
      std::copy(right.view()[i].begin(), right.view()[i].end(), S[i].begin());
  }
  friend bool operator==(const drops_decay&, const drops_decay&) = default;

 private:
  static matrix<T> written_by(const segment<R, T>& s, index_t K, index_t V) {
    matrix<T> H(K, V, {}, T(0));
    s.apply(H.view());
    return H;
  }
  static matrix<T> sum(matrix<T> x, const matrix<T>& y, T times) {
    for (index_t i = 0; i < x.rows(); ++i)
      for (index_t j = 0; j < x.cols(); ++j) x.view()[i][j] += times * y.view()[i][j];
    return x;
  }
};
// The later before the earlier: right where nothing fades and nothing is erased.
template <rule R, class T>
struct other_order : segment<R, T> {
  other_order(segment<R, T> s) : segment<R, T>(std::move(s)) {}
  static other_order of(const recurrence_rows<T>& in) { return segment<R, T>::of(in); }
  friend other_order merge(const other_order& a, const other_order& b) {
    return merge(static_cast<const segment<R, T>&>(b), static_cast<const segment<R, T>&>(a));
  }
};
// Partial answers. Sums are added as they stand, although each is relative to its own highest score:
inline void unscaled_merge(const mneme::partial<double>& a, const mneme::partial<double>& b) {
  for (index_t g = 0; g < a.sum.rows(); ++g) {
    a.highest[g] = std::max(a.highest[g], b.highest[g]);
    a.total[g] += b.total[g];
    for (index_t c = 0; c < a.sum.cols(); ++c) a.sum[g][c] += b.sum[g][c];
  }
}
// An empty partial that comes later starts anew.
inline void empty_resets(const mneme::partial<double>& a, const mneme::partial<double>& b) {
  for (index_t g = 0; g < a.sum.rows(); ++g)
    if (b.total[g] == 0) clear(a);
  mneme::merge(a, b);
}

}  // namespace mneme_test::mutants

namespace mneme::inline MNEME_ABI {

template <rule R>
struct kernel<recurrence<R>, mneme_test::mutants::right> {
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    using backend = std::conditional_t<std::is_same_v<T, double>, reference, cpu<simd::native>>;
    kernel<recurrence<R>, backend>::template run<T>(ctx, S, in, O);
  }
};
template <rule R>
struct kernel<recurrence<R>, mneme_test::mutants::wrong_tail> {
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    kernel<recurrence<R>, mneme_test::mutants::right>::template run<T>(ctx, S, in, O);
    if constexpr (std::is_same_v<T, float>)
      for (index_t j = O.cols() / 16 * 16; j < O.cols(); ++j)
        for (index_t t = 0; t < O.rows(); ++t) O[t][j] *= 0.99f;
  }
};
template <rule R>
struct kernel<recurrence<R>, mneme_test::mutants::restless> {
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    static index_t calls = 0;
    kernel<recurrence<R>, mneme_test::mutants::right>::template run<T>(ctx, S, in, O);
    if (std::is_same_v<T, float> && ++calls % 2 == 0) S[0][0] = std::nextafter(S[0][0], T(0));
  }
};
template <rule R, mneme_test::mutants::reach To>
struct kernel<recurrence<R>, mneme_test::mutants::narrow_gates<To>> {
  template <class T>
  static void run(context& ctx, mat_view<T> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    const typename mneme_test::mutants::narrow_gates<To>::template operands<T> other(in);
    kernel<recurrence<R>, mneme_test::mutants::right>::template run<T>(ctx, S, other.in, O);
  }
};

}  // namespace mneme::inline MNEME_ABI

namespace mneme_test::mutants {

// What the laws of ops look at.
struct any_op {
  std::string name;
  recurrence_test::family rules;
  attention_test::merge_of<double> merge_partials = &mneme::merge<double>;
};

// References of all rules that L20 asks for, kernels and segments of two.
template <class Kernel = right, template <rule, class> class Segment = segment, class Reference = right>
any_op op_mutant(const char* name, attention_test::merge_of<double> merge_partials = &mneme::merge<double>) {
  namespace rules = mneme::rules;
  any_op m{name, {}, merge_partials};
  const auto add = [&]<rule... R>() {
    (m.rules.push_back(
         {.is = R, .reference = &mneme::kernel<recurrence<R>, Reference>::template run<double>}),
     ...);
  };
  const auto add_whole = [&]<rule... R>() {
    (m.rules.push_back({.is = R,
                        .reference = &mneme::kernel<recurrence<R>, Reference>::template run<double>,
                        .kernel = &mneme::kernel<recurrence<R>, Kernel>::template run<float>,
                        .segments = recurrence_test::segments_of<R, Segment>}),
     ...);
  };
  add_whole.template operator()<rules::gla, rules::gated_delta_net>();
  add.template
  operator()<rules::linear_attention, rules::retnet, rule{.forget = mneme::decay::value}, rules::rwkv6,
             rules::delta_net, rules::kda, rule{.write = mneme::update::dplr}, rules::comba, rules::rwkv7>();
  return m;
}

// Wrong alike in all three.
template <class Gates>
any_op wrong_rule(const char* name) {
  return op_mutant<Gates, Gates::template segments, Gates>(name);
}

// The laws of ops.
inline std::string l12_monoid(const any_op& m) {
  const std::string found = recurrence_test::monoid_fault(m.rules);
  if (!found.empty()) return found;
  using op = mneme::kernel<mneme::attention, mneme::reference>;
  const attention_test::entries kv(50, 6, 9);
  const auto Q = random_rows<double>(3, 6, 0, 4);
  matrix<double> O(3, 9);
  context ctx;
  op::run<double>(ctx, kv.all(), 0.3, Q, O.view(), {});
  return monoid_fault(
      attention_test::partial_answers<double>(kv, Q, &op::part, &op::finish, m.merge_partials, O),
      {.eps = epsilon<double>, .rows = 0, .width = 6});
}
inline std::string l16_backend(const any_op& m) { return recurrence_test::backend_fault(m.rules); }
inline std::string l20_reductions(const any_op& m) { return recurrence_test::reduction_fault(m.rules); }

}  // namespace mneme_test::mutants
