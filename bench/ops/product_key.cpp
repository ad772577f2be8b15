// SPDX-License-Identifier: Apache-2.0
// A million values behind two sets of 1024 sub-keys. Every call brings other queries: the same ones again
// would find their values in the nearest cache.
#include <mneme/backend/cpu/product_key.hpp>
#include <mneme/math/encode.hpp>

#include "../case.hpp"

namespace {
using namespace bench;
using mneme::dtype;
using mneme::weight;

constexpr index_t sub_keys = 1024, d_key = 128, d_value = 256, top_k = 32, queries = 1024;
constexpr dtype stored = dtype::q8_0;

// 272 MB, once for all cases: some thousand rows are drawn and encoded, the others repeat them.
const weight& values() {
  static const weight all = [] {
    constexpr index_t drawn = 4093, bytes = mneme::row_bytes(stored, d_value), rows = sub_keys * sub_keys;
    const matrix x(drawn, d_value, 9);
    mneme::buffer<std::byte> table(rows * bytes);
    mneme::encode_row(stored, x.view().data(), drawn * d_value, table.data());
    for (index_t r = drawn; r < rows; r += drawn)
      std::copy_n(table.data(), std::min(drawn, rows - r) * bytes, table.data() + r * bytes);
    auto owner = std::make_shared<const mneme::buffer<std::byte>>(std::move(table));
    return weight(owner->data(), {rows, d_value, 1}, 2, stored, owner);
  }();
  return all;
}

// Which values: with Read also their weighted sum. The floor leaves the values out: they lie in another level
// than the keys.
template <bool Read>
class problem {
 public:
  struct shape {};
  static double state_bytes(shape) { return 4.0 * 2 * sub_keys * d_key; }
  static work cost(shape s, index_t rows) {
    const double R = static_cast<double>(rows);
    return {.fmas = R * (2 * sub_keys * d_key + Read * top_k * d_value),
            .exps = R * top_k,
            .read = state_bytes(s),
            .rows = R * 4 * (2 * d_key + (Read ? d_value : 0))};
  }
  problem(shape, index_t rows, index_t states)
      : keys_(states, 2 * sub_keys * d_key, 1),
        Q_(std::max(queries, rows), 2 * d_key, 2),
        w_(rows, top_k, 3),
        Y_(rows, d_value, 4),
        ids_(rows * top_k),
        rows_(rows) {}
  template <class Backend>
  void run(context& ctx, index_t state) {
    const weight K(keys_[state].data(), {2, sub_keys, d_key}, 3, dtype::f32, nullptr);
    const mat_view<const float> Q = Q_.view().range(next_, next_ + rows_);
    next_ = next_ + 2 * rows_ <= Q_.rows() ? next_ + rows_ : 0;
    if constexpr (Read)
      mneme::kernel<mneme::product_key_read, Backend>::template run<float>(
          ctx, K, values(), top_k, mneme::product_key_gate::softmax, Q, Y_.view());
    else
      mneme::kernel<mneme::product_key_address, Backend>::template run<float>(
          ctx, K, top_k, mneme::product_key_gate::softmax, Q, {ids_.data(), rows_, top_k}, w_.view());
  }
  mat_view<const float> output() const { return Read ? Y_.view() : w_.view(); }

 private:
  matrix keys_, Q_, w_, Y_;
  mneme::buffer<index_t> ids_;
  index_t rows_, next_ = 0;
};

const suite all([] {
  const plan batches{
      .prefill = 256, .prefill_by_all = false, .checked = 3};  // the reference sorts a million sums
  add<problem<false>>("product_key_address/1M,top32", {}, batches);
  add<problem<true>>("product_key_read/1M,top32,q8_0", {}, batches);
});
}  // namespace
