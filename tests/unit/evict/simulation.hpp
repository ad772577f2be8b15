// SPDX-License-Identifier: Apache-2.0
// A cache in plain double loops, written from the descriptions of the policies: the oracle of kv_attention.
#pragma once
#include <mneme/memory/kv_attention.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace mneme_test {

using mneme::index_t;
using row = std::vector<double>;

inline double dot(const double* a, const row& b) {
  double s = 0;
  for (std::size_t i = 0; i < b.size(); ++i) s += a[i] * b[i];
  return s;
}

// A seeded kv_attention with longer queries: those of the seed attend almost evenly, and age alone decides.
template <class M>
M sharpened(const mneme::kv_attention_config& c, std::uint64_t seed) {
  M m(c, seed);
  float* q = mneme::edit<float>(m.weights().q_proj);
  for (index_t i = 0; i < m.weights().q_proj.size(); ++i) q[i] *= 10;
  return m;
}

enum class rule { full, window, sinks, h2o, tova, knorm, lru, lfu };

class simulation {
 public:
  struct entry {
    index_t position;
    row key, value;
    double mass = 0, received = 0;
    int age = 0, hits = 0;  // a hit: an even share of attention, or more
  };
  struct departure {
    index_t list;
    entry what;
  };

  rule policy;
  mneme::kv_attention_config config;  // resolved
  row Wq, Wk, Wv, Wo;
  std::function<void(row&)> round_stored = [](row&) {};  // what the store's codec does to a row

  std::vector<std::vector<entry>> lists;  // in slot order
  std::vector<departure> departed;
  double margin = 1;  // the smallest distance between the two lowest scores so far
  index_t tokens = 0;

  template <class M>
  simulation(rule r, const M& m) : policy(r), config(m.configuration()) {
    Wq = wide(m.weights().q_proj), Wk = wide(m.weights().k_proj);
    Wv = wide(m.weights().v_proj), Wo = wide(m.weights().o_proj);
    lists.resize(static_cast<std::size_t>(config.kv_heads));
  }

  row step(const row& x) {
    const row k = times(Wk, x), v = times(Wv, x);
    for (index_t l = 0; l < config.kv_heads; ++l) {
      entry e{tokens, head(k, l), head(v, l)};
      turn(e.key, tokens);
      round_stored(e.key);
      round_stored(e.value);
      lists[static_cast<std::size_t>(l)].push_back(e);
    }
    const row y = attend(x);
    ++tokens;
    evict();
    return y;
  }
  // Attends as token number `tokens`; leaves in `received` the mean attention of a list's query heads.
  row attend(const row& x) {
    const row q = times(Wq, x);
    row o;
    const index_t group = config.heads / config.kv_heads;
    for (auto& l : lists)
      for (entry& e : l) e.received = 0;
    for (index_t h = 0; h < config.heads; ++h) {
      auto& entries = lists[static_cast<std::size_t>(h / group)];
      row query = head(q, h), out(query.size()), p;
      turn(query, tokens);
      double total = 0, highest = -1e300;
      for (const entry& e : entries) {
        p.push_back(dot(query.data(), e.key) / std::sqrt(static_cast<double>(config.head_dim)));
        highest = std::max(highest, p.back());
      }
      for (double& s : p) total += s = std::exp(s - highest);
      for (std::size_t i = 0; i < entries.size(); ++i) {
        entries[i].received += p[i] / total / static_cast<double>(group);
        for (std::size_t c = 0; c < out.size(); ++c) out[c] += p[i] / total * entries[i].value[c];
      }
      o.insert(o.end(), out.begin(), out.end());
    }
    return times(Wo, o);
  }
  std::vector<index_t> live(index_t list) const {
    std::vector<index_t> p;
    for (const entry& e : lists[static_cast<std::size_t>(list)]) p.push_back(e.position);
    return p;
  }

 private:
  static row wide(const mneme::weight& w) {
    row x(static_cast<std::size_t>(w.size()));
    mneme::decode_row<mneme::simd::scalar>(w.type(), w.data(), w.size(), x.data());
    return x;
  }
  static row times(const row& W, const row& x) {
    row y;
    for (std::size_t r = 0; r < W.size(); r += x.size()) y.push_back(dot(W.data() + r, x));
    return y;
  }
  row head(const row& x, index_t h) const {
    return row(x.begin() + h * config.head_dim, x.begin() + (h + 1) * config.head_dim);
  }
  void turn(row& x, index_t position) const {
    if (config.rope_base == 0) return;
    const std::size_t d = x.size(), half = d / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const bool split = config.pairs == mneme::rope_pairs::half_split;
      double &a = x[split ? i : 2 * i], &b = x[split ? i + half : 2 * i + 1];
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(d);
      const double angle = static_cast<double>(position) * std::pow(config.rope_base, exponent);
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = turned;
    }
  }

  void evict() {
    const index_t newest = tokens - 1, C = config.capacity;
    for (auto& l : lists)
      for (entry& e : l) {
        const bool hit = e.received * static_cast<double>(l.size()) >= 1 || e.position == newest;
        e.mass += e.received;
        e.age = hit ? 0 : e.age + 1;
        e.hits += e.received * static_cast<double>(l.size()) >= 1;
      }
    if (policy == rule::full || static_cast<index_t>(lists[0].size()) <= C) return;
    if (policy == rule::h2o || policy >= rule::knorm) {
      for (std::size_t l = 0; l < lists.size(); ++l)
        drop(l, lowest(
                    lists[l], [&](std::size_t i) { return own_score(lists[l][i]); },
                    [&](index_t p) {
                      return (policy == rule::h2o && p > newest - C / 2) ||
                             (policy == rule::lfu && p == newest);
                    }));
      return;
    }
    const auto layer_score = [&](std::size_t i) {
      double s = 0;
      if (policy == rule::tova)
        for (const auto& l : lists) s += l[i].received / static_cast<double>(lists.size());
      return s;
    };
    const std::size_t victim = lowest(lists[0], layer_score, [&](index_t p) {
      return policy == rule::sinks && p < std::min<index_t>(4, C - 1);
    });
    for (std::size_t l = 0; l < lists.size(); ++l) drop(l, victim);
  }
  double own_score(const entry& e) const {
    if (policy == rule::knorm) return -std::sqrt(dot(e.key.data(), e.key));
    return policy == rule::lru ? -e.age : policy == rule::lfu ? e.hits : e.mass;
  }
  // The entry of lowest score that is not protected; the oldest among equals.
  std::size_t lowest(const std::vector<entry>& entries, const std::function<double(std::size_t)>& score,
                     const std::function<bool(index_t)>& is_protected) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < entries.size(); ++i)
      if (!is_protected(entries[i].position)) order.push_back(i);
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return score(a) != score(b) ? score(a) < score(b) : entries[a].position < entries[b].position;
    });
    if (order.size() > 1) margin = std::min(margin, score(order[1]) - score(order[0]));
    return order[0];
  }
  // The newest entry takes the victim's slot.
  void drop(std::size_t list, std::size_t slot) {
    departed.push_back({static_cast<index_t>(list), lists[list][slot]});
    lists[list][slot] = lists[list].back();
    lists[list].pop_back();
  }
};

}  // namespace mneme_test
