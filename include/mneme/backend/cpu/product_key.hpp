// SPDX-License-Identifier: Apache-2.0
// Product-key lookup on packs.
#pragma once
#include "../../math/topk.hpp"
#include "../../op/product_key.hpp"
#include "embedding_bag.hpp"
#include "matmul.hpp"

namespace mneme::inline MNEME_ABI {

// Only pairs of ranks (p, q) with (p + 1)(q + 1) <= k can be among the k best: any other has k pairs above
// it, and rounding of sums is monotone. Of those, a sum below the corner of a p x q rectangle of k pairs is
// out as well.
template <class Arch>
struct kernel<product_key_select, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, row_view<const T> s1, row_view<const T> s2, row_view<T> best,
                  row_view<index_t> ids) noexcept {
    context::frame scratch(ctx);
    const index_t k = best.size();
    const auto a = half(ctx, scratch, s1, k), b = half(ctx, scratch, s2, k);

    T threshold = std::numeric_limits<T>::lowest();
    index_t pairs = 0;
    for (index_t p = 0; p < std::min(a.size, k); ++p) {
      pairs += std::min(b.size, k / (p + 1));
      const index_t q = (k + p) / (p + 1) - 1;  // (p + 1)(q + 1) >= k pairs reach at least this corner
      if (q < b.size) threshold = std::max(threshold, a.value[p] + b.value[q]);
    }
    auto list = candidate_list<T>::with_room(scratch, pairs);
    for (index_t p = 0; p < a.size; ++p)
      for (index_t q = 0; q < std::min(b.size, k / (p + 1)); ++q) {
        const T sum = a.value[p] + b.value[q];
        if (!(sum >= threshold)) break;  // the sums of a row descend
        list.push(sum, a.id[p] * s2.size() + b.id[q]);
      }
    best_candidates<Arch>(ctx, list, best, ids);
  }

 private:
  // The selected part of one half, in descending order.
  template <class T>
  static candidate_list<T> half(context& ctx, context::frame& scratch, row_view<const T> s, index_t k) {
    const index_t n = std::min(k, s.size());
    auto list = candidate_list<T>::with_room(scratch, n);
    topk<Arch>(ctx, s, row_view<T>(list.value, n), row_view<index_t>(list.id, n));
    while (list.size < n && list.id[list.size] >= 0) ++list.size;
    return list;
  }
};

template <class Arch>
struct kernel<product_key_address, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& K, index_t top_k, product_key_gate gate, mat_view<const T> Q,
                  mat_view<index_t> ids, mat_view<T> w) noexcept {
    constexpr index_t together = 48;  // rows per task: their scores stay in L2, their keys are read once
    ctx.parallel_for((Q.rows() + together - 1) / together, [&](index_t i, context& worker) {
      const index_t from = i * together, to = std::min(from + together, Q.rows());
      rows<T>(worker, K, top_k, gate, Q.range(from, to), ids.range(from, to), w.range(from, to));
    });
  }

 private:
  template <class T>
  static void rows(context& ctx, const weight& K, index_t top_k, product_key_gate gate, mat_view<const T> Q,
                   mat_view<index_t> ids, mat_view<T> w) noexcept {
    const index_t R = Q.rows(), heads = K.dim(0) / 2, n = K.dim(1), dk = K.dim(2);
    context::frame scratch(ctx);
    const auto s1 = scratch.mat<T>(R, n), s2 = scratch.mat<T>(R, n);
    for (index_t h = 0; h < heads; ++h) {
      kernel<matmul, cpu<Arch>>::template run<T>(ctx, sub_keys(K, 2 * h), Q.columns(2 * h * dk, dk), s1);
      kernel<matmul, cpu<Arch>>::template run<T>(ctx, sub_keys(K, 2 * h + 1), Q.columns((2 * h + 1) * dk, dk),
                                                 s2);
      for (index_t r = 0; r < R; ++r) {
        const auto v = w[r].sub(h * top_k, top_k);
        kernel<product_key_select, cpu<Arch>>::template run<T>(ctx, s1[r], s2[r], v,
                                                               ids[r].sub(h * top_k, top_k));
        if (gate == product_key_gate::relu)
          map_row<Arch>(top_k, v.data(), v.data(), []<class P>(P x) { return simd::max(x, P(0)); });
        else
          softmax<Arch>(top_k, v.data());
      }
    }
  }
  // The sub-keys of one half of one head, as a matrix of their own.
  static weight sub_keys(const weight& K, index_t half) {
    return weight(K.row(half * K.dim(1)), {K.dim(1), K.dim(2), 1}, 2, K.type(), nullptr);
  }
};

template <class Arch>
struct kernel<product_key_read, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& K, const weight& V, index_t top_k, product_key_gate gate,
                  mat_view<const T> Q, mat_view<T> Y) noexcept {
    detail::read_product_keys<cpu<Arch>, T>(ctx, K, V, top_k, gate, Q, Y);
  }
};

template <class Arch>
struct kernel<product_key_normalise, cpu<Arch>> {
  template <class T>
  static void run(context& ctx, const weight& w, const weight& b, double epsilon, mat_view<T> X) noexcept {
    const index_t D = X.cols();
    context::frame scratch(ctx);
    const auto scale = scratch.row<T>(D), shift = scratch.row<T>(D);
    decode_row<Arch>(w.type(), w.data(), D, scale.data());
    decode_row<Arch>(b.type(), b.data(), D, shift.data());
    for (index_t r = 0; r < X.rows(); ++r) {
      T* x = X[r].data();
      const T mean = sum_of<Arch>(D, x) / static_cast<T>(D);
      const T squares = fold<Arch, T>(D, [x, mean]<class P>(index_t i, P sum) {
        const P centred = simd::load<P>(x + i) - P(mean);
        return sum + centred * centred;
      });
      const T variance = squares / static_cast<T>(D);
      const T inverse = T(1) / simd::sqrt(variance + static_cast<T>(epsilon));
      for_packs<T, Arch>(D, [&]<class P>(index_t i) {
        const P v = (simd::load<P>(x + i) - P(mean)) * P(inverse);
        simd::store(x + i, simd::fma(v, simd::load<P>(scale.data() + i), simd::load<P>(shift.data() + i)));
      });
    }
  }
};

}  // namespace mneme::inline MNEME_ABI
