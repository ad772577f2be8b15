// SPDX-License-Identifier: Apache-2.0
// ngram_hash: the last tokens to rows of many hash tables that lie in one another's row after row.
#pragma once
#include "../../core/error.hpp"
#include "../../math/random.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace mneme::inline MNEME_ABI::detail {

inline bool is_prime(index_t n) {
  for (index_t d = 2; d <= n / d; ++d)
    if (n % d == 0) return false;
  return n > 1;
}
// Sizes of the tables of one layer, for n = 2, 3, ... a prime for each head: the next from sizes[n - 2] on
// that no table before it has, those of earlier layers included.
inline std::vector<index_t> table_primes(const std::vector<index_t>& sizes, index_t heads, index_t layer) {
  std::vector<index_t> taken;
  for (index_t l = 0; l <= layer; ++l)
    for (index_t prime : sizes)
      for (index_t head = 0; head < heads; ++head, ++prime) {
        while (!is_prime(prime) || std::find(taken.begin(), taken.end(), prime) != taken.end()) ++prime;
        taken.push_back(prime);
      }
  return {taken.end() - static_cast<index_t>(sizes.size()) * heads, taken.end()};
}

// Addresses of token t, whose ids are compressed by `map`: for n = 2 .. N, with its heads h inside,
//   row = first[n, h] + (xor over j < n of id_t-j m_j) mod p[n, h]
struct ngram_hash {
  std::vector<token_id> map;              // of every id; empty: the identity
  index_t vocabulary = 1;                 // ids outside of it count as `pad`
  token_id pad = 0;                       // compressed
  std::vector<std::int64_t> multipliers;  // [N]
  index_t heads = 1;
  std::vector<index_t> primes;  // [N - 1, heads]

  index_t longest() const { return static_cast<index_t>(multipliers.size()); }
  index_t tables() const { return static_cast<index_t>(primes.size()); }
  index_t rows() const {
    index_t sum = 0;
    for (const index_t p : primes) sum += p;
    return sum;
  }
  token_id compressed(token_id id) const noexcept {
    if (id < 0 || id >= vocabulary) return pad;
    return map.empty() ? id : map[static_cast<std::size_t>(id)];
  }
  // ids [T, tables()] of the tokens X [T, 1]; past [N - 1] holds the compressed ids before them, oldest
  // first, and is carried on.
  void addresses(buffer<token_id>& past, mat_view<const token_id> X, mat_view<index_t> ids) const noexcept {
    const index_t before = past.size(), T = X.rows();
    const auto at = [&](index_t t) -> token_id { return t < 0 ? past[before + t] : compressed(X[t][0]); };
    for (index_t t = 0; t < T; ++t) {
      std::int64_t mix = std::int64_t{at(t)} * multipliers[0];
      index_t first = 0, table = 0;
      for (index_t n = 2; n <= longest(); ++n) {
        mix ^= std::int64_t{at(t - n + 1)} * multipliers[static_cast<std::size_t>(n - 1)];
        for (index_t head = 0; head < heads; ++head, ++table) {
          const index_t p = primes[static_cast<std::size_t>(table)];
          ids[t][table] = first + mix % p;
          first += p;
        }
      }
    }
    for (index_t i = 0; i < before; ++i) past[i] = at(i + T - before);
  }
};

// Of the ids after compression.
template <class Config>
index_t highest_id(const Config& c) {
  return c.token_map.empty() ? c.vocabulary - 1 : *std::max_element(c.token_map.begin(), c.token_map.end());
}
// Products with ids stay positive.
template <class Config>
std::int64_t most_multiplier(const Config& c) {
  return std::numeric_limits<std::int64_t>::max() / (highest_id(c) + 1);
}
// What is wrong with the constants of a config. Precondition: vocabulary is at least 1.
template <class Config>
status check_ngram_hash(const char* name, const Config& c) {
  if (c.engram_vocab_size.empty())
    return message(name, ": engram_vocab_size is empty, expected a size for n = 2");
  for (const index_t rows : c.engram_vocab_size)
    if (rows < 1 || rows > (index_t{1} << 30))
      return message(name, ": engram_vocab_size holds ", rows, ", expected 1 to 2^30");
  if (c.pad_id < 0 || c.pad_id >= c.vocabulary)
    return message(name, ": pad_id is ", c.pad_id, ", expected an id below vocabulary, ", c.vocabulary);
  if (!c.token_map.empty() && static_cast<index_t>(c.token_map.size()) != c.vocabulary)
    return message(name, ": token_map has ", c.token_map.size(), " ids, expected vocabulary, ", c.vocabulary);
  for (const token_id id : c.token_map)
    if (id < 0) return message(name, ": token_map holds ", id, ", expected ids from 0 on");
  if (!c.multipliers.empty() && static_cast<index_t>(c.multipliers.size()) != c.longest())
    return message(name, ": there are ", c.multipliers.size(), " multipliers, expected ", c.longest());
  for (const std::int64_t m : c.multipliers)
    if (m < 1 || m % 2 == 0 || m > most_multiplier(c))
      return message(name, ": a multiplier is ", m, ", expected an odd one up to ", most_multiplier(c));
  return {};
}
// Of a config that passed: its multipliers, or odd ones drawn for its seed and layer.
template <class Config>
ngram_hash make_ngram_hash(const Config& c) {
  ngram_hash h{.map = c.token_map,
               .vocabulary = c.vocabulary,
               .pad = c.token_map.empty() ? c.pad_id : c.token_map[static_cast<std::size_t>(c.pad_id)],
               .multipliers = c.multipliers,
               .heads = c.n_head_per_ngram,
               .primes = table_primes(c.engram_vocab_size, c.n_head_per_ngram, c.layer)};
  random_stream draw(c.hash_seed, static_cast<std::uint64_t>(c.layer));
  const auto half = static_cast<std::uint64_t>(std::max<std::int64_t>(1, most_multiplier(c) / 2));
  while (h.longest() < c.longest())
    h.multipliers.push_back(static_cast<std::int64_t>(draw.bits() % half) * 2 + 1);
  return h;
}

}  // namespace mneme::inline MNEME_ABI::detail
