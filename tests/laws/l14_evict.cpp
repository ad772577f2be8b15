// SPDX-License-Identifier: Apache-2.0
// L14: size <= capacity, >= 1; every dropped entry is told exactly once and is not live any more;
// capacity >= T equals no eviction. Where boundaries alone evict: nothing is dropped between them, after one
// every list has what it had, or segment_capacity of it, in ascending position, and another one at once
// changes nothing.
// (That the kept entries are those with the best scores: unit tests, per policy.)
#include "eviction_log.hpp"
#include "laws.hpp"

#include <set>

namespace mneme_test {
namespace {

using entries = std::set<eviction_log::entry>;

template <class T, class Input>
void boundaries(examination<T, Input>& e) {
  const auto& m = e.memory();
  const index_t bound = m.segment_capacity();
  if (!m.segmented() || bound == 0) return;
  context ctx, scanning;
  eviction_log log(ctx), scan_log(scanning);
  stream<T, Input> single(m, ctx), whole(m, scanning);
  index_t fed = 0, left = 0;
  for (const index_t piece :
       {index_t{1}, bound, index_t{2}, bound + 4, index_t{0}, index_t{1}, 2 * bound + 1}) {
    const auto after = [&](const char* what) {
      return [what, fed] { return what + std::to_string(fed) + " tokens, segmented"; };
    };
    const auto X = e.rows(piece, 18 + static_cast<std::uint64_t>(fed));
    const auto told = log.told().size();
    single.steps(X);
    whole.scan(X, 0);
    fed += piece;
    if (m.capacity() == 0) e.holds(log.told().size() == told, after("no drop between boundaries, "));
    m.end_segment(ctx, single.past);
    m.end_segment(scanning, whole.past);
    e.same_bits(whole.past, single.past, after("scans and steps are cut alike, "));
    e.holds(log.told() == scan_log.told(), after("scans and steps drop alike, "));
    e.holds(m.valid(single.past), after("a cut state is valid, "));

    entries all(log.told().begin(), log.told().end());
    e.holds(all.size() == log.told().size(), after("every drop is told once, "));
    left = std::min(left + piece, bound);
    for (index_t list = 0; list < m.lists(); ++list) {
      const auto live = m.live(single.past, list);
      e.holds(static_cast<index_t>(live.size()) == left, after("as many stay as may, "));
      for (const index_t position : live) all.insert({list, position});
      if (m.capacity() == 0)
        e.holds(std::is_sorted(live.begin(), live.end()), after("in ascending position, "));
    }
    e.holds(all.size() == static_cast<std::size_t>(m.lists() * fed), after("live or told, each, "));

    const auto before = single.past;
    const auto said = log.told().size();
    m.end_segment(ctx, single.past);
    e.same_bits(single.past, before, after("another boundary at once, "));
    e.holds(log.told().size() == said, after("another boundary drops nothing, "));
  }
}

}  // namespace

findings l14_evict(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    const auto& m = e.memory();
    if (!m.evicting()) return;
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 16);
    eviction_log log(ctx);
    stream<T, Input> single(m, ctx);
    for (index_t t = 0; t < rows; ++t) {
      const auto after = [&](const char* what) { return [what, t] { return what + std::to_string(t); }; };
      single.steps(X.view().range(t, t + 1));
      const entries dropped(log.told().begin(), log.told().end());
      e.holds(dropped.size() == log.told().size(), after("every drop is told once, until token "));
      entries all = dropped;
      std::size_t live_count = 0;
      for (index_t list = 0; list < m.lists(); ++list) {
        const auto live = m.live(single.past, list);
        const auto size = static_cast<index_t>(live.size());
        live_count += live.size();
        e.holds(size >= 1 && (m.capacity() == 0 || size <= m.capacity()),
                after("1 <= size <= capacity, token "));
        for (const index_t position : live) {
          e.holds(all.insert({list, position}).second, after("live once and not dropped, token "));
          e.holds(position >= 0 && position <= t, after("live positions have been seen, token "));
        }
      }
      e.holds(all.size() == dropped.size() + live_count &&
                  all.size() == static_cast<std::size_t>(m.lists() * (t + 1)),
              after("live and dropped together are all entries, token "));
      if (m.capacity() == 0 || t < m.capacity()) e.holds(dropped.empty(), after("room for all, token "));
    }

    context scanning;
    eviction_log scan_log(scanning);
    stream<T, Input> whole(m, scanning), twin_stream(e.on().unbounded ? *e.on().unbounded : m, scanning);
    whole.scan(X, 0);
    e.holds(scan_log.told() == log.told(),
            [] { return std::string("one scan drops what the steps dropped"); });
    const auto said = scan_log.told().size();
    mneme::prepare(m, scanning, rows);
    e.holds(scan_log.told().size() == said && scanning.on_eviction == scan_log.observer(),
            [] { return std::string("prepare is silent and gives the observer back"); });

    boundaries(e);
    if (!e.on().unbounded) return;
    const index_t fits = m.capacity() == 0 ? rows : std::min(m.capacity(), rows);
    stream<T, Input> roomy(m, scanning);
    const matrix<T> Y = roomy.scan(X.view().first(fits)), Z = twin_stream.scan(X.view().first(fits));
    e.no_difference(difference<T, T>(Y, Z, e.tolerance(fits)),
                    [] { return std::string("within the capacity nothing is missing"); });
  });
}

}  // namespace mneme_test
