// SPDX-License-Identifier: Apache-2.0
// Attention over float32 entries for its tests, and its partials as stretches of entries (law L12).
#pragma once
#include <mneme/op/attention.hpp>

#include "op_laws.hpp"

namespace attention_test {

using namespace mneme;
using namespace mneme_test;

// The functions of a backend on entries of type E.
template <class T, class E>
using run_of = void (*)(context&, const E&, double, mat_view<const T>, mat_view<T>, mat_view<T>,
                        const distance_bias&);
template <class T, class E>
using part_of = void (*)(context&, const E&, index_t, index_t, double, mat_view<const T>,
                         const distance_bias&, const partial<T>&, mat_view<T>);
template <class T>
using finish_of = void (*)(const partial<T>&, mat_view<T>);
template <class T>
using merge_of = void (*)(const partial<T>&, const partial<T>&);

// Random float32 entries.
struct entries {
  matrix<float> K, V;
  entries(index_t size, index_t d_key, index_t d_value)
      : K(random_rows<float>(size, d_key, 0, 11)), V(random_rows<float>(size, d_value, 0, 12)) {}
  kv_rows<dtype::f32> all() const {
    return {reinterpret_cast<const std::byte*>(K.view().data()),
            reinterpret_cast<const std::byte*>(V.view().data()),
            K.view().stride() * 4,
            V.view().stride() * 4,
            K.cols(),
            V.cols(),
            K.rows()};
  }
};

template <class T>
struct owned_partial {
  matrix<T> numbers, sum;
  owned_partial(index_t G, index_t d) : numbers(2, G), sum(G, d) { clear(view()); }
  partial<T> view() { return {numbers.view()[0], numbers.view()[1], sum.view()}; }
  friend bool operator==(const owned_partial&, const owned_partial&) = default;
};

// Partial answers of queries Q. `kv` and Q stay where they are.
template <class T>
stretches partial_answers(const entries& kv, const matrix<T>& Q, part_of<T, kv_rows<dtype::f32>> part,
                          finish_of<T> finish, merge_of<T> merged, matrix<double> whole) {
  using owned = owned_partial<T>;
  return {.length = kv.K.rows(),
          .of = [=, &kv, &Q](index_t from, index_t to) -> std::any {
            owned p(Q.rows(), kv.V.cols());
            context ctx;
            if (from < to) part(ctx, kv.all(), from, to, 0.3, Q, {}, p.view(), {});
            return p;
          },
          .merged = [=](const std::any& a, const std::any& b) -> std::any {
            owned both = std::any_cast<const owned&>(a), other = std::any_cast<const owned&>(b);
            merged(both.view(), other.view());
            return both;
          },
          .applied =
              [=](const std::any& a) {
                owned p = std::any_cast<const owned&>(a);
                finish(p.view(), {});
                return widened<T>(p.sum.view());
              },
          .same =
              [](const std::any& a, const std::any& b) {
                return std::any_cast<const owned&>(a) == std::any_cast<const owned&>(b);
              },
          .sequence = std::move(whole)};
}

}  // namespace attention_test
