// SPDX-License-Identifier: Apache-2.0
// Softmax attention of the query heads of one group over one list of keys and values.
#pragma once
#include "../core/context.hpp"
#include "../math/decode.hpp"
#include "partial.hpp"

#include <cmath>

namespace mneme::inline MNEME_ABI {

// The entries of one key/value head, in whatever layout, found by index in constant time.
//   width()                                 elements that a decoded row may take: whole blocks of its codec
//   key_row<Arch>(i, scratch), value_row    row i as T: decoded to scratch [width()], or where it is stored
//   in_place<T>                             rows are always found where they are stored: no scratch
template <class E>
concept KvEntries = requires(const E& e, index_t i, float* x, double* y) {
  { e.size } -> std::convertible_to<index_t>;
  { e.d_key } -> std::convertible_to<index_t>;
  { e.d_value } -> std::convertible_to<index_t>;
  { e.width() } -> std::same_as<index_t>;
  { e.template key_row<simd::scalar>(i, x) } -> std::same_as<const float*>;
  { e.template value_row<simd::scalar>(i, y) } -> std::same_as<const double*>;
  { E::template in_place<float> } -> std::convertible_to<bool>;
};

// Rows stored as D. A type that is T already is read where it stands.
template <dtype D>
struct stored_row {
  template <class T>
  static constexpr bool in_place = D == dtype_of<T>;

  // Channels to decode: whole blocks.
  static constexpr index_t padded(index_t d) {
    return (d + info(D).block - 1) / info(D).block * info(D).block;
  }
  template <class Arch, class T>
  static const T* decoded(const std::byte* stored, index_t d, T* scratch) noexcept {
    if constexpr (in_place<T>) {
      return reinterpret_cast<const T*>(stored);
    } else {
      decode_row<D, Arch>(stored, padded(d), scratch);
      return scratch;
    }
  }
};

// Entries slot after slot, the same number of bytes apart. Rows of a block type are padded with zeros to
// whole blocks.
template <dtype D>
struct kv_rows {
  template <class T>
  static constexpr bool in_place = stored_row<D>::template in_place<T>;

  const std::byte *keys, *values;
  index_t key_stride, value_stride;  // bytes from one slot to the next
  index_t d_key, d_value;
  index_t size;

  const std::byte* key(index_t slot) const { return keys + slot * key_stride; }
  const std::byte* value(index_t slot) const { return values + slot * value_stride; }
  static constexpr index_t padded(index_t d) { return stored_row<D>::padded(d); }
  index_t width() const { return padded(std::max(d_key, d_value)); }
  template <class Arch, class T>
  const T* key_row(index_t i, T* scratch) const noexcept {
    return stored_row<D>::template decoded<Arch>(key(i), d_key, scratch);
  }
  template <class Arch, class T>
  const T* value_row(index_t i, T* scratch) const noexcept {
    return stored_row<D>::template decoded<Arch>(value(i), d_value, scratch);
  }
  // Rows of one list may lie a page apart, where no hardware prefetcher follows. Inlined by force: gcc drops
  // calls of functions that only prefetch.
  [[gnu::always_inline]] void prefetch_key(index_t i) const noexcept {
    for (index_t b = 0; b < row_bytes(D, padded(d_key)); b += 64) __builtin_prefetch(key(i) + b, 0, 2);
  }
  [[gnu::always_inline]] void prefetch_value(index_t i) const noexcept {
    for (index_t b = 0; b < row_bytes(D, padded(d_value)); b += 64) __builtin_prefetch(value(i) + b, 0, 2);
  }
};

// Linear biases by distance: slope_h (p_i - p) is added to the score of query head h and entry i, where p_i
// and p are the positions of entry and query.
// Source: Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input Length
// Extrapolation", 2021, section 3.
struct distance_bias {
  row_view<const double> slopes = {};      // [heads]; empty: no bias
  mat_view<const index_t> positions = {};  // [lists or 1, size]; no rows: entry i is at position i
  index_t position = 0;                    // of the query

  // That of the heads [list G, list G + G).
  distance_bias of_list(index_t list, index_t G) const {
    const index_t table = positions.rows() > 1 ? list : 0;
    return {slopes.size() > 0 ? slopes.sub(list * G, G) : slopes,
            positions.rows() > 0 ? positions.range(table, table + 1) : positions, position};
  }
  double operator()(index_t g, index_t i) const {
    return slopes[g] * static_cast<double>((positions.rows() > 0 ? positions[0][i] : i) - position);
  }
};
// The slope of head h of `heads`: 2^(-8 (h + 1) / heads) for a power of two; of others the last heads take
// every second slope of twice the next smaller power.
inline double alibi_slope(index_t h, index_t heads) {
  index_t power = 1;
  while (2 * power <= heads) power *= 2;
  const index_t step = h < power ? h + 1 : 2 * (h - power) + 1, of = h < power ? power : 2 * power;
  return std::exp2(-8 * static_cast<double>(step) / static_cast<double>(of));
}

//   s_i = scale q . k_i + bias     p = softmax(s)     o = sum_i p_i v_i
//   Q [G, d_key]   O [G, d_value]   P [G, >= size]: receives p if it has rows; asking for it never changes O
// run: over all entries. No entries: O = 0. Row-stable: a query's answer does not depend on the other
// queries.
// part: the partial of the entries [from, to); S receives their scores if it has rows.
// finish: a partial over all entries to answers, in place: o / l; P holds scores and receives p if it has
// rows.
// Accumulation in T.
struct attention {};

template <>
struct kernel<attention, reference> {
  template <class T, KvEntries E>
  static void run(context& ctx, const E& kv, double scale, mat_view<const T> Q, mat_view<T> O, mat_view<T> P,
                  const distance_bias& bias = {}) noexcept {
    context::frame scratch(ctx);
    const index_t G = Q.rows();
    const partial<double> all{scratch.row<double>(G), scratch.row<double>(G),
                              scratch.mat<double>(G, kv.d_value)};
    const auto p = scratch.mat<double>(P.rows(), kv.size);
    part(ctx, kv, 0, kv.size, scale, Q, bias, all, p);
    finish(all, p);
    for (index_t g = 0; g < G; ++g)
      for (index_t c = 0; c < kv.d_value; ++c) O[g][c] = static_cast<T>(all.sum[g][c]);
    for (index_t g = 0; g < P.rows(); ++g)
      for (index_t i = 0; i < kv.size; ++i) P[g][i] = static_cast<T>(p[g][i]);
  }
  // The partial and the scores may be wider than the queries.
  template <class T, KvEntries E, class U>
  static void part(context& ctx, const E& kv, index_t from, index_t to, double scale, mat_view<const T> Q,
                   const distance_bias& bias, const partial<U>& p, mat_view<U> S) noexcept {
    context::frame scratch(ctx);
    const auto s = scratch.row<double>(to - from), x = scratch.row<double>(kv.width());
    const auto o = scratch.row<double>(kv.d_value);
    for (index_t g = 0; g < Q.rows(); ++g) {
      double m = -std::numeric_limits<double>::infinity(), l = 0;
      for (index_t i = from; i < to; ++i) {
        const double* key = kv.template key_row<simd::scalar>(i, x.data());
        double dot = 0;
        for (index_t c = 0; c < kv.d_key; ++c) dot += static_cast<double>(Q[g][c]) * key[c];
        s[i - from] = scale * dot + (bias.slopes.size() > 0 ? bias(g, i) : 0);
        m = std::max(m, s[i - from]);
        if (S.rows() > 0) S[g][i] = static_cast<U>(s[i - from]);
      }
      std::fill(o.begin(), o.end(), 0.0);
      for (index_t i = from; i < to; ++i) {
        const double* value = kv.template value_row<simd::scalar>(i, x.data());
        const double weight = std::exp(s[i - from] - m);
        l += weight;
        for (index_t c = 0; c < kv.d_value; ++c) o[c] += weight * value[c];
      }
      p.highest[g] = static_cast<U>(m);
      p.total[g] = static_cast<U>(l);
      for (index_t c = 0; c < kv.d_value; ++c) p.sum[g][c] = static_cast<U>(o[c]);
    }
  }
  template <class T>
  static void finish(const partial<T>& p, mat_view<T> P) noexcept {
    for (index_t g = 0; g < p.sum.rows(); ++g) {
      if (p.total[g] == 0) continue;
      for (T& o : p.sum[g]) o /= p.total[g];
      if (P.rows() > 0)
        for (T& s : P[g]) s = std::exp(s - p.highest[g]) / p.total[g];
    }
  }
};

// ---- many lists, long lists
// ----------------------------------------------------------------------------------------

// Long lists are read in parts, whose number depends on the length alone: the bits do not depend on the
// threads.
inline constexpr index_t most_attention_parts = 16;
inline index_t attention_parts(index_t size) {
  return std::clamp<index_t>(size / 1024, 1, most_attention_parts);
}

// All heads over their lists, query head h over list h lists / heads: Q [heads, d_key], O [heads, d_value],
// P [heads, size] or no rows. entries_of(list) gives the entries of a list; all lists have the same number.
template <class Backend, class T, class EntriesOf>
void attend_lists(context& ctx, index_t lists, EntriesOf&& entries_of, double scale, mat_view<const T> Q,
                  mat_view<T> O, mat_view<T> P, const distance_bias& bias = {}) noexcept {
  using op = kernel<attention, Backend>;
  context::frame scratch(ctx);
  const index_t heads = Q.rows(), G = heads / lists, size = entries_of(index_t{0}).size;
  // Scratch for every length is taken before the first token.
  const index_t parts = ctx.preparing ? most_attention_parts : attention_parts(size);
  const index_t length = ((size + parts - 1) / parts + 63) / 64 * 64;
  const auto highest = scratch.mat<T>(parts, heads), total = scratch.mat<T>(parts, heads);
  const auto sums = scratch.mat<T>((parts - 1) * heads, O.cols());
  const auto partial_of = [&](index_t list, index_t k) -> partial<T> {
    const auto sum = k == 0 ? O : sums.range((k - 1) * heads, k * heads);
    return {highest[k].sub(list * G, G), total[k].sub(list * G, G), sum.range(list * G, list * G + G)};
  };
  const auto of_list = [&](mat_view<T> M, index_t list) {
    return M.rows() > 0 ? M.range(list * G, list * G + G) : M;
  };
  const auto one = [&](index_t job, context& worker) {
    const index_t list = job / parts, k = job % parts, from = std::min(k * length, size);
    op::part(worker, entries_of(list), from, std::min(from + length, size), scale,
             Q.range(list * G, list * G + G), bias.of_list(list, G), partial_of(list, k), of_list(P, list));
  };
  const auto joined = [&](index_t list, context&) {
    for (index_t k = 1; k < parts; ++k) merge(partial_of(list, 0), partial_of(list, k));
    const auto p = of_list(P, list);
    op::finish(partial_of(list, 0), mat_view<T>(p.data(), p.rows(), size, p.stride()));
  };
  // Below this much work, waking a thread costs more than it saves; the numbers are the same either way.
  constexpr index_t worth_a_thread = 1 << 17;
  if (ctx.preparing || size * heads * Q.cols() >= worth_a_thread) {
    ctx.parallel_for(lists * parts, one);
    ctx.parallel_for(lists, joined);
  } else {
    for (index_t job = 0; job < lists * parts; ++job) one(job, ctx);
    for (index_t list = 0; list < lists; ++list) joined(list, ctx);
  }
}

}  // namespace mneme::inline MNEME_ABI
