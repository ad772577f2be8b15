// SPDX-License-Identifier: Apache-2.0
// Queries of every head over a cache, as kv_attention reads its contiguous store: of one token over n
// entries, or of a text whose first token sees n entries and every other one an entry more. A cache of the
// length that decoding has here is beyond L2 by itself: cold only.
#include <mneme/backend/cpu/attention.hpp>
#include <mneme/math/encode.hpp>

#include "../case.hpp"
#include "../plain.hpp"

namespace {
using namespace bench;
using mneme::dtype;

template <dtype D>
class problem {
 public:
  struct shape {
    index_t heads, lists, d, n;
  };
  static double state_bytes(shape s) {
    return static_cast<double>(2 * s.n * s.lists * mneme::row_bytes(D, s.d));
  }
  static work cost(shape s, index_t tokens) {
    const double seen = static_cast<double>(s.heads * tokens * (2 * s.n + tokens - 1)) / 2;
    return {.fmas = 2 * seen * static_cast<double>(s.d),
            .exps = seen,
            .read = state_bytes({s.heads, s.lists, s.d, s.n + tokens - 1}),
            .rows = 8.0 * static_cast<double>(tokens * s.heads * s.d)};
  }
  problem(shape s, index_t tokens, index_t states)
      : shape_(s),
        size_(s.n + tokens - 1),
        keys_(states * size_ * s.lists * mneme::row_bytes(D, s.d)),
        values_(keys_.size()),
        Q_(tokens, s.heads * s.d, 3),
        O_(tokens, s.heads * s.d, 4),
        scores_(1, s.n, 5) {
    encode(keys_, 1);
    encode(values_, 2);
  }
  template <class Backend>
  void run(context& ctx, index_t state) {
    const index_t row = mneme::row_bytes(D, shape_.d), slot = shape_.lists * row, from = state * size_ * slot;
    const auto entries = [&](index_t list) -> mneme::kv_rows<D> {
      return {keys_.data() + from + list * row,
              values_.data() + from + list * row,
              slot,
              slot,
              shape_.d,
              shape_.d,
              size_};
    };
    const double scale = 1 / std::sqrt(static_cast<double>(shape_.d));
    const mat_view<float> Q = Q_.view(), O = O_.view();
    if (Q.rows() > 1)
      mneme::attend_positions<Backend, float>(ctx, shape_.lists, entries, scale, Q, O);
    else
      mneme::attend_lists<Backend, float>(ctx, shape_.lists, entries, scale,
                                          mat_view<const float>(Q.data(), shape_.heads, shape_.d),
                                          mat_view<float>(O.data(), shape_.heads, shape_.d), {});
  }
  void plain(index_t state)
    requires(D == dtype::f32)
  {
    const index_t size = shape_.n * shape_.lists * shape_.d;
    plain::attention(shape_.heads, shape_.lists, shape_.n, shape_.d, &Q_[0][0],
                     reinterpret_cast<const float*>(keys_.data()) + state * size,
                     reinterpret_cast<const float*>(values_.data()) + state * size, &scores_[0][0],
                     &O_[0][0]);
  }
  mat_view<const float> output() const { return O_.view(); }

 private:
  // A few hundred rows are drawn and encoded; the others repeat them.
  static void encode(mneme::buffer<std::byte>& rows, unsigned seed) {
    constexpr index_t drawn = 251 * 128;
    const matrix x(1, drawn, seed);
    mneme::buffer<std::byte> once(mneme::row_bytes(D, drawn));
    mneme::encode_row(D, x.view().data(), drawn, once.data());
    for (index_t i = 0; i < rows.size(); i += once.size())
      std::copy_n(once.data(), std::min(once.size(), rows.size() - i), rows.data() + i);
  }
  shape shape_;
  index_t size_;  // entries of a list
  mneme::buffer<std::byte> keys_, values_;
  matrix Q_, O_, scores_;
};

template <dtype D>
void add_lengths(const std::string& store) {
  const std::string name = "attention/32:8x128,n=";
  for (const index_t n : {4096, 16384})
    add<problem<D>>(name + std::to_string(n) + "," + store, {32, 8, 128, n}, {.hot = false, .prefill = 0});
  for (const index_t n : {1, 3585})  // up to 512 and to 4096 entries
    add<problem<D>>(name + std::to_string(n) + "," + store, {32, 8, 128, n},
                    {.hot = false, .cold = false, .prefill_by_all = false, .checked = 20});
}
const suite all([] {
  add_lengths<dtype::f32>("f32");
  add_lengths<dtype::f16>("f16");
  add_lengths<dtype::bf16>("bf16");
  add_lengths<dtype::q8_0>("q8_0");
  add_lengths<dtype::q4_0>("q4_0");
});
}  // namespace
