// SPDX-License-Identifier: Apache-2.0
// One query of every head over a cache, as kv_attention reads its contiguous store. A cache of this length is
// beyond L2 by itself: cold only.
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
  static work cost(shape s, index_t) {
    const double entries = static_cast<double>(s.heads * s.n);
    return {.fmas = 2 * entries * static_cast<double>(s.d),
            .exps = entries,
            .read = state_bytes(s),
            .rows = 8.0 * static_cast<double>(s.heads * s.d)};
  }
  problem(shape s, index_t, index_t states)
      : shape_(s),
        keys_(states * s.n * s.lists * mneme::row_bytes(D, s.d)),
        values_(keys_.size()),
        Q_(s.heads, s.d, 3),
        O_(s.heads, s.d, 4),
        scores_(1, s.n, 5) {
    encode(keys_, 1);
    encode(values_, 2);
  }
  template <class Backend>
  void run(context& ctx, index_t state) {
    const index_t row = mneme::row_bytes(D, shape_.d), slot = shape_.lists * row,
                  from = state * shape_.n * slot;
    const auto entries = [&](index_t list) -> mneme::kv_rows<D> {
      return {keys_.data() + from + list * row,
              values_.data() + from + list * row,
              slot,
              slot,
              shape_.d,
              shape_.d,
              shape_.n};
    };
    mneme::attend_lists<Backend, float>(
        ctx, shape_.lists, entries, 1 / std::sqrt(static_cast<double>(shape_.d)), Q_.view(), O_.view(), {});
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
  mneme::buffer<std::byte> keys_, values_;
  matrix Q_, O_, scores_;
};

template <dtype D>
void add_lengths(const std::string& store) {
  for (const index_t n : {4096, 16384})
    add<problem<D>>("attention/32:8x128,n=" + std::to_string(n) + "," + store, {32, 8, 128, n},
                    {.hot = false, .prefill = 0});
}
const suite all([] {
  add_lengths<dtype::f32>("f32");
  add_lengths<dtype::f16>("f16");
  add_lengths<dtype::bf16>("bf16");
  add_lengths<dtype::q8_0>("q8_0");
  add_lengths<dtype::q4_0>("q4_0");
});
}  // namespace
