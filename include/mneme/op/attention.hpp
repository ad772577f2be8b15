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

// Entries whose rows lie somewhere as they were stored: what a kernel may decode on its way and ask for
// ahead, unless as_stored(), where there is such a function, says that they are more than decoded.
template <class E>
concept StoredEntries = KvEntries<E> && requires(const E& e, index_t i) {
  { E::type } -> std::convertible_to<dtype>;
  { e.key(i) } -> std::same_as<const std::byte*>;
  { e.value(i) } -> std::same_as<const std::byte*>;
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
  static constexpr dtype type = D;
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
};

// Linear biases by distance: slope_h (p_i - p) is added to the score of query head h and entry i, where p_i
// and p are the positions of entry and query.
// Source: Press, Smith, Lewis, "Train Short, Test Long: Attention with Linear Biases Enables Input Length
// Extrapolation", 2021, section 3.
struct distance_bias {
  row_view<const double> slopes = {};      // [heads]; empty: no bias
  mat_view<const index_t> positions = {};  // [lists or 1, size]; no rows: entry i is at position i
  index_t position = 0;                    // of the query

  // That of the heads [list G, list G + n G), those of n lists.
  distance_bias of_list(index_t list, index_t G, index_t n = 1) const {
    return {slopes.size() > 0 ? slopes.sub(list * G, n * G) : slopes,
            positions.rows() > 1 ? positions.range(list, list + n) : positions, position};
  }
  // That of a query at another position.
  distance_bias at(index_t other) const { return {slopes, positions, other}; }
  double operator()(index_t g, index_t i) const {
    return slopes[g] * static_cast<double>((positions.rows() > 0 ? positions[0][i] : i) - position);
  }
  // To the scores of query head g and the entries from `from` on.
  template <class T>
  void add(index_t g, index_t from, row_view<T> scores) const {
    if (slopes.size() == 0) return;
    for (index_t i = 0; i < scores.size(); ++i) scores[i] += static_cast<T>((*this)(g, from + i));
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
// extend: adds those entries of several lists, at most `block` of them, to a partial of the heads of all;
// [to, next_to) are read after them.
// extend_rows, if shares_rows: the same for rows of queries, G of each position, of which the first position
// sees `seen` entries and has the bias's position, every later one an entry more; for [from, to) of any
// length.
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
  static constexpr index_t block = std::numeric_limits<index_t>::max();
  static constexpr bool shares_rows = false;
  template <class T, KvEntries E, class U>
  static void extend(context& ctx, row_view<const E> lists, index_t from, index_t to, index_t, double scale,
                     mat_view<const T> Q, const distance_bias& bias, const partial<U>& p,
                     mat_view<U> S) noexcept {
    const index_t G = Q.rows() / lists.size();
    for (index_t list = 0; list < lists.size(); ++list) {
      context::frame scratch(ctx);
      const partial<U> more{scratch.row<U>(G), scratch.row<U>(G), scratch.mat<U>(G, lists[list].d_value)};
      const index_t first = list * G, last = first + G;
      part(ctx, lists[list], from, to, scale, Q.range(first, last), bias.of_list(list, G), more,
           S.rows() > 0 ? S.range(first, last) : S);
      merge(p.of_heads(first, last), more);
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

}  // namespace mneme::inline MNEME_ABI
