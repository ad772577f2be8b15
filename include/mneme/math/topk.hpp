// SPDX-License-Identifier: Apache-2.0
// topk: the k largest of n scores, exact, without allocation.
#pragma once
#include "../core/context.hpp"
#include "vector.hpp"

#include <algorithm>

namespace mneme::inline MNEME_ABI {

namespace simd {
// Lane i of a comparison as bit i.
inline std::uint64_t bits(bool hit) { return hit; }
#if !defined(MNEME_NO_SIMD)
template <class T, class A>
std::uint64_t bits(xsimd::batch_bool<T, A> hit) {
  if constexpr (requires { hit.mask(); }) {
    return hit.mask();
  } else if constexpr (requires { std::uint64_t{hit.data}; }) {
    return hit.data;  // a mask register
  } else {
    std::uint64_t all = 0;
    if (!xsimd::any(hit)) return all;
    bool lane[xsimd::batch<T, A>::size];
    hit.store_unaligned(lane);
    for (std::size_t i = 0; i < xsimd::batch<T, A>::size; ++i) all |= std::uint64_t{lane[i]} << i;
    return all;
  }
}
#endif
// The lanes of x whose bits are set, end to end; as many elements as x has may be written. And the numbers of
// those lanes, counted from `first`.
template <class P>
void store_lanes(P x, std::uint64_t lanes, element<P>* to) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (detail::is_zmm<P>) {
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(static_cast<__mmask16>(lanes), x));
    return;
  }
#endif
  element<P> lane[static_cast<std::size_t>(width<P>)];
  simd::store(lane, x);
  for (; lanes; lanes &= lanes - 1) *to++ = lane[std::countr_zero(lanes)];
}
template <index_t Lanes>
void store_numbers(index_t first, std::uint64_t lanes, index_t* to) {
#if defined(__AVX512F__) && !defined(MNEME_NO_SIMD)
  if constexpr (Lanes == 16) {
    const __m512i low = _mm512_add_epi64(_mm512_set1_epi64(first), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    const auto half = static_cast<__mmask8>(lanes);
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(half, low));
    _mm512_storeu_si512(to + std::popcount(half),
                        _mm512_maskz_compress_epi64(static_cast<__mmask8>(lanes >> 8),
                                                    _mm512_add_epi64(low, _mm512_set1_epi64(8))));
    return;
  }
#endif
  for (; lanes; lanes &= lanes - 1) *to++ = first + std::countr_zero(lanes);
}
}  // namespace simd

// Scores under selection, each with the id that breaks ties (lower first). `value` must be readable four
// packs beyond `size`.
template <class T>
struct candidate_list {
  T* value = nullptr;
  index_t* id = nullptr;
  index_t size = 0;

  void push(T v, index_t i) {
    value[size] = v;
    id[size++] = i;
  }
  // Those lanes of x whose bits are set; lane 0 has the id `first`. Writes a whole pack.
  template <class P>
  void push(P x, std::uint64_t lanes, index_t first) {
    simd::store_lanes(x, lanes, value + size);
    simd::store_numbers<simd::width<P>>(first, lanes, id + size);
    size += std::popcount(lanes);
  }
  // Room for n candidates.
  static candidate_list with_room(context::frame& scratch, index_t n) {
    constexpr index_t overrun = 64;  // four packs of 16: no architecture has wider ones
    return {scratch.row<T>(n + overrun).data(), scratch.row<index_t>(n + overrun).data()};
  }
};

namespace detail {
// rank[i] <- number of candidates with a larger value. Quadratic, but without a branch: for lists of up to
// `few_candidates`.
template <class Arch, class T>
inline constexpr index_t few_candidates = 8 * simd::width<simd::pack<T, Arch>>;

template <class Arch, class T>
void rank_candidates(candidate_list<T> c, T* rank) {
  using P = simd::pack<T, Arch>;
  constexpr index_t W = simd::width<P>;
  constexpr int chains = 4;  // independent sums, to hide the latency of the addition
  for (index_t i = 0; i < c.size; i += chains * W) {
    P value[chains], larger[chains];
    unrolled<chains>([&](index_t b) {
      value[b] = simd::load<P>(c.value + i + b * W);
      larger[b] = P(T(0));
    });
    for (index_t j = 0; j < c.size; ++j) {
      const P other(c.value[j]);
      unrolled<chains>(
          [&](index_t b) { larger[b] = larger[b] + simd::select(other > value[b], P(T(1)), P(T(0))); });
    }
    unrolled<chains>([&](index_t b) { simd::store(rank + i + b * W, larger[b]); });
  }
}
template <class Arch, class T>
using rank_array = T[static_cast<std::size_t>(few_candidates<Arch, T> + 64)];

// Equal values share a rank and are inserted by id. (Equal is not the same: zeros have signs.)
template <class Arch, class T>
void place_by_rank(candidate_list<T> c, row_view<T> best, row_view<index_t> ids) {
  rank_array<Arch, T> rank;
  rank_candidates<Arch>(c, rank);
  const index_t k = best.size();
  std::fill(best.begin(), best.end(), -std::numeric_limits<T>::infinity());
  std::fill(ids.begin(), ids.end(), index_t{-1});
  for (index_t i = 0; i < c.size; ++i) {
    index_t at = static_cast<index_t>(rank[i]), id = c.id[i];
    T value = c.value[i];
    for (; at < k && ids[at] >= 0; ++at)
      if (ids[at] > id) {
        std::swap(ids[at], id);
        std::swap(best[at], value);
      }
    if (at < k) {
      best[at] = value;
      ids[at] = id;
    }
  }
}

// The k-th largest value of a list of at least k; disorders the list.
template <class Arch, class T>
T kth_largest(candidate_list<T> c, index_t k) {
  if (c.size > few_candidates<Arch, T>) {
    std::nth_element(c.value, c.value + k - 1, c.value + c.size, [](T a, T b) { return a > b; });
    return c.value[k - 1];
  }
  rank_array<Arch, T> rank;
  rank_candidates<Arch>(c, rank);
  using P = simd::pack<T, Arch>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  std::fill_n(c.value + c.size, simd::width<P>, infinity);
  P least(infinity);
  for (index_t i = 0; i < c.size; i += simd::width<P>) {
    const P ranks = simd::load<P>(rank + i), values = simd::load<P>(c.value + i);
    least = simd::min(least, simd::select(ranks < P(static_cast<T>(k)), values, P(infinity)));
  }
  return -simd::max_of(-least);
}

template <class T>
void place_by_sorting(context& ctx, candidate_list<T> c, row_view<T> best, row_view<index_t> ids) {
  struct entry {
    T value;
    index_t id;
  };
  context::frame scratch(ctx);
  const auto all = scratch.row<entry>(c.size);
  for (index_t i = 0; i < c.size; ++i) all[i] = {c.value[i], c.id[i]};
  const index_t found = std::min(best.size(), c.size);
  const auto before = [](const entry& a, const entry& b) {
    return a.value > b.value || (a.value == b.value && a.id < b.id);
  };
  if (found < c.size) std::nth_element(all.begin(), all.begin() + found, all.end(), before);
  std::sort(all.begin(), all.begin() + found, before);
  for (index_t i = 0; i < best.size(); ++i) {
    best[i] = i < found ? all[i].value : -std::numeric_limits<T>::infinity();
    ids[i] = i < found ? all[i].id : index_t{-1};
  }
}
}  // namespace detail

// The best of a candidate list: value descending, then id ascending; places left over get id -1, value
// -infinity. Candidates are neither NaN nor -infinity.
template <class Arch, class T>
void best_candidates(context& ctx, candidate_list<T> c, row_view<T> best, row_view<index_t> ids) {
  if (c.size <= detail::few_candidates<Arch, T>)
    detail::place_by_rank<Arch>(c, best, ids);
  else
    detail::place_by_sorting(ctx, c, best, ids);
}

// best[k], indices[k] <- the k = best.size() largest of scores[n]: value descending, then index ascending.
// NaN counts as -infinity; an entry at -infinity is never selected; places left over get index -1, value
// -infinity.
//   1. A first threshold: the k-th largest of 2k group maxima, since k groups then hold an entry as large.
//   2. One pass; whole packs below the threshold are dropped, others go to a list of candidates.
//   3. A full list is cut back to its k best, whose smallest is the new threshold.
// Equal to a full stable sort. Scratch: O(k) of the context.
template <class Arch, class T>
void topk(context& ctx, row_view<const T> scores, row_view<T> best, row_view<index_t> indices) {
  using P = simd::pack<T, Arch>;
  constexpr index_t W = simd::width<P>;
  const index_t n = scores.size(), k = best.size();
  if (k == 0) return;
  const T* x = scores.data();
  T threshold = std::numeric_limits<T>::lowest();
  context::frame scratch(ctx);
  const index_t room = 2 * k + 64 + W;
  auto list = candidate_list<T>::with_room(scratch, room);

  const index_t groups = (2 * k + W - 1) / W * W, members = std::min<index_t>(n / groups, 16);
  if (members >= 4) {
    for (index_t g = 0; g < groups; g += W) {
      P largest(-std::numeric_limits<T>::infinity());
      for (index_t m = 0; m < members; ++m) {
        const P v = simd::load<P>(x + m * groups + g);
        largest = simd::select(v > largest, v, largest);  // false for NaN
      }
      const std::uint64_t hits = simd::bits(largest >= P(threshold));
      list.push(largest, hits, g);
    }
    if (list.size >= k) threshold = detail::kth_largest<Arch>(list, k);
    list.size = 0;
  }

  const auto cut_back = [&] {
    best_candidates<Arch>(ctx, list, best, indices);
    std::copy(best.begin(), best.end(), list.value);
    std::copy(indices.begin(), indices.end(), list.id);
    list.size = k;
    threshold = best[k - 1];
  };
  for_packs<T, Arch>(n, [&]<class Q>(index_t i) {
    if (list.size + W > room) cut_back();
    const Q v = simd::load<Q>(x + i);
    if (const std::uint64_t hits = simd::bits(v >= Q(threshold))) list.push(v, hits, i);
  });
  best_candidates<Arch>(ctx, list, best, indices);
}

}  // namespace mneme::inline MNEME_ABI
