// SPDX-License-Identifier: Apache-2.0
// embedding_bag and embedding_dot on packs. Rows lie anywhere in a table that no cache holds, so their bytes
// are asked for some rows before they are needed, across the rows of the result.
#pragma once
#include "../../math/prefetch.hpp"
#include "../../math/sums.hpp"
#include "../../op/embedding_bag.hpp"
#include "../dispatch.hpp"

namespace mneme::inline MNEME_ABI {

namespace detail {
// Asks for bytes [at, at + bytes) of the row that comes `ahead` after *id, if the list goes on so far.
template <index_t ahead>
[[gnu::always_inline]] inline void prefetch_row(const weight& table, const index_t* id, const index_t* end,
                                                index_t at, index_t bytes) {
  if (end - id <= ahead || id[ahead] < 0) return;
  ask_for<1>(static_cast<const std::byte*>(table.row(id[ahead])) + at, bytes);
}
// f(r, where the list of ids ends that goes on after row r): blocks of rows, spread over threads.
template <class F>
void for_id_rows(context& ctx, mat_view<const index_t> ids, F&& f) {
  constexpr index_t together = 48;  // rows per task
  const bool one_list = ids.stride() == ids.cols();
  ctx.parallel_for((ids.rows() + together - 1) / together, [&](index_t i, context&) {
    const index_t from = i * together, to = std::min(from + together, ids.rows());
    for (index_t r = from; r < to; ++r) f(r, ids[one_list ? to - 1 : r].end());
  });
}
}  // namespace detail

template <class Arch>
struct kernel<embedding_bag, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& V, mat_view<const index_t> ids, mat_view<const T> w,
                  mat_view<T> Y) noexcept {
    with_dtype(V.type(), [&](auto type) {
      detail::for_id_rows(ctx, ids,
                          [&](index_t r, const index_t* end) { bag<type(), T>(V, w[r], ids[r], end, Y[r]); });
    });
  }

 private:
  template <dtype D, class T>
  static void bag(const weight& V, row_view<const T> w, row_view<const index_t> ids, const index_t* end,
                  row_view<T> y) noexcept {
    constexpr index_t packs = decode_group / simd::width<simd::pack<T, Arch>>;
    constexpr int groups = packs < 8 ? static_cast<int>(8 / packs) : 1;  // 8 sums in registers
    index_t c = 0;
    for (; c + groups * decode_group <= y.size(); c += groups * decode_group)
      columns<groups, D, T>(V, w, ids, end, c, y);
    for (; c + decode_group <= y.size(); c += decode_group) columns<1, D, T>(V, w, ids, end, c, y);
    const index_t at = c / decode_group * row_decoder<D>::group_bytes;
    for (index_t i = c; i < y.size(); ++i) y[i] = 0;
    for (index_t m = 0; m < ids.size() && c < y.size(); ++m) {
      if (ids[m] < 0) continue;
      const auto* row = static_cast<const std::byte*>(V.row(ids[m])) + at;
      for (index_t i = c; i < y.size(); ++i)
        y[i] = simd::fma(w[m], row_decoder<D>::template tail<T>(row, i - c), y[i]);
    }
  }
  // Columns [c, c + 32 N).
  template <int N, dtype D, class T>
  static void columns(const weight& V, row_view<const T> w, row_view<const index_t> ids, const index_t* end,
                      index_t c, row_view<T> y) noexcept {
    using P = simd::pack<T, Arch>;
    constexpr index_t width = simd::width<P>, packs = decode_group / width,
                      bytes = N * row_decoder<D>::group_bytes;
    const index_t at = c / decode_group * row_decoder<D>::group_bytes;
    P sum[N * packs];
    unrolled<N * packs>([&](index_t i) { sum[i] = P(T(0)); });
    for (index_t m = 0; m < ids.size(); ++m) {
      detail::prefetch_row<8>(V, ids.data() + m, end, at, bytes);
      if (ids[m] < 0) continue;
      const auto* row = static_cast<const std::byte*>(V.row(ids[m])) + at;
      unrolled<N>([&](index_t g) {
        P v[packs];
        row_decoder<D>::group(row + g * row_decoder<D>::group_bytes, v);
        unrolled<packs>(
            [&](index_t i) { sum[g * packs + i] = simd::fma(P(w[m]), v[i], sum[g * packs + i]); });
      });
    }
    unrolled<N * packs>([&](index_t i) { simd::store(y.data() + c + i * width, sum[i]); });
  }
};

template <class Arch>
struct kernel<embedding_dot, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& U, mat_view<const index_t> ids, mat_view<const T> X,
                  mat_view<T> Y) noexcept {
    with_dtype(U.type(), [&](auto type) {
      detail::for_id_rows(ctx, ids, [&](index_t r, const index_t* end) {
        for (index_t m = 0; m < ids.cols(); ++m) {
          const index_t* id = ids[r].data() + m;
          detail::prefetch_row<4>(U, id, end, 0, row_bytes(type(), U.cols()));
          Y[r][m] = *id < 0 ? T(0) : product<type(), T>(U.row(*id), X[r]);
        }
      });
    });
  }

 private:
  template <dtype D, class T>
  static T product(const void* stored, row_view<const T> x) noexcept {
    using P = simd::pack<T, Arch>;
    constexpr index_t width = simd::width<P>, packs = decode_group / width;
    const auto* row = static_cast<const std::byte*>(stored);
    P sum[packs];
    unrolled<packs>([&](index_t i) { sum[i] = P(T(0)); });
    index_t k = 0;
    for (; k + decode_group <= x.size(); k += decode_group, row += row_decoder<D>::group_bytes) {
      P v[packs];
      row_decoder<D>::group(row, v);
      unrolled<packs>(
          [&](index_t i) { sum[i] = simd::fma(v[i], simd::load<P>(x.data() + k + i * width), sum[i]); });
    }
    for (index_t i = 1; i < packs; ++i) sum[0] = sum[0] + sum[i];
    T s = simd::sum(sum[0]);
    for (index_t i = k; i < x.size(); ++i)
      s = simd::fma(row_decoder<D>::template tail<T>(row, i - k), x[i], s);
    return s;
  }
};

}  // namespace mneme::inline MNEME_ABI
