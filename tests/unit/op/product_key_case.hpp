// SPDX-License-Identifier: Apache-2.0
// Running product_key_select for its tests.
#pragma once
#include <mneme/backend/cpu/product_key.hpp>

#include "op_laws.hpp"

namespace product_key_test {

using namespace mneme;
using mneme_test::matrix;
using mneme_test::ugly;

template <class T>
struct selection {
  std::vector<T> value;
  std::vector<index_t> id;
  friend bool operator==(const selection&, const selection&) = default;
};
template <class T>
selection<T> selected(mneme_test::kernel_of<product_key_select, T> run, const matrix<T>& s1,
                      const matrix<T>& s2, index_t k) {
  const auto n = static_cast<std::size_t>(k);
  selection<T> s{std::vector<T>(n, T(7)), std::vector<index_t>(n, 7)};
  context ctx;
  run(ctx, s1.view()[0], s2.view()[0], row_view<T>(s.value), row_view<index_t>(s.id));
  return s;
}

}  // namespace product_key_test
