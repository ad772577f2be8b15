// SPDX-License-Identifier: Apache-2.0
// L14: size <= capacity, >= 1; every dropped entry is told exactly once and is not live any more;
// capacity >= T equals no eviction. (That the kept entries are those with the best scores: unit tests, per policy.)
#include "eviction_log.hpp"
#include "laws.hpp"

#include <set>

namespace mneme_test {

findings l14_evict(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    const auto& m = e.memory();
    if (!m.evicting()) return;
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 16);
    using entries = std::set<eviction_log::entry>;

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

    if (!e.on().unbounded) return;
    const index_t fits = m.capacity() == 0 ? rows : std::min(m.capacity(), rows);
    stream<T, Input> roomy(m, scanning);
    const matrix<T> Y = roomy.scan(X.view().first(fits)), Z = twin_stream.scan(X.view().first(fits));
    e.no_difference(difference<T, T>(Y, Z, e.tolerance(fits)),
                    [] { return std::string("within the capacity nothing is missing"); });
  });
}

}  // namespace mneme_test
