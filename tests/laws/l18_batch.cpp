// SPDX-License-Identifier: Apache-2.0
// L18: scan_many over any lanes equals each stream alone: outputs and states.
#include "laws.hpp"

namespace mneme_test {

findings l18_batch(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const auto& m = e.memory();
    using state = mneme::any_state<T>;
    struct shape {
      index_t fed, rows, outs;  // rows seen before, rows now, outputs wanted
    };
    const index_t many = e.length();
    const std::vector<std::pair<const char*, std::vector<shape>>> batches = {
        {"one lane", {{3, 5, 2}}},
        {"decode", {{0, 1, 1}, {4, 1, 1}, {many, 1, 1}, {2, 1, 1}, {9, 1, 1}}},
        {"ragged", {{0, 3, 3}, {7, 0, 0}, {1, many, 2}, {0, 1, 0}, {many, 8, 8}, {5, 2, 1}, {0, 0, 0}}},
        {"nothing wanted", {{0, 4, 0}, {3, 1, 0}}},
        {"whole prompts", {{0, many, many}, {2, 17, 17}}},
    };
    for (const auto& [name, shapes] : batches) {
      index_t rows = 0, outs = 0;
      for (const shape& l : shapes) rows += l.rows, outs += l.outs;
      const auto X = e.rows(rows, 18);
      matrix<T> Y(outs, m.d_out(), {2, 1});
      std::vector<state> starts, pasts;
      std::uint64_t salt = 19;
      for (const shape& l : shapes) {
        stream<T, Input> fed(m, ctx);
        fed.scan(e.rows(l.fed, salt++), 0);
        starts.push_back(std::move(fed.past));
      }
      pasts = starts;
      std::vector<mneme::lane<state>> lanes;
      for (std::size_t i = 0; i < shapes.size(); ++i)
        lanes.push_back({&pasts[i], shapes[i].rows, shapes[i].outs});
      const matrix<Input> in(X, {3, 1});
      m.scan_many(ctx, lanes, in, Y.view());
      e.holds(Y.surrounding_untouched(), [&] { return std::string(name) + ", the padding of the outputs"; });

      index_t x = 0, y = 0;
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        const shape& l = shapes[i];
        const auto where = [&] { return std::string(name) + ", lane " + std::to_string(i); };
        stream<T, Input> alone(m, ctx, starts[i]);
        const index_t seen = l.fed + l.rows;
        e.equal(Y.view().range(y, y + l.outs), alone.scan(X.view().range(x, x + l.rows), l.outs), seen,
                where);
        e.equal(pasts[i], alone.past, seen, where);
        stream<T, Input> batched(m, ctx, pasts[i]);
        const auto next = e.rows(3, 40);
        e.equal(batched.scan(next), alone.scan(next), seen + 3, [&] { return where() + ", going on"; });
        x += l.rows, y += l.outs;
      }

      // Lanes see nothing of each other, whatever the others hold.
      if constexpr (std::is_floating_point_v<Input>)
        if (shapes.size() > 1 && shapes[0].rows > 0) {
          matrix<Input> bad = X;
          for (index_t r = 0; r < shapes[0].rows; ++r)
            std::fill(bad.view()[r].begin(), bad.view()[r].end(), poison<Input>());
          matrix<T> Z(outs, m.d_out(), {2, 1});
          auto others = starts;
          for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i].state = &others[i];
          m.scan_many(ctx, lanes, bad, Z.view());
          const auto where = [&] { return std::string(name) + ", beside a lane of NaN"; };
          e.same_bits(Z.view().last(outs - shapes[0].outs), Y.view().last(outs - shapes[0].outs), where);
          for (std::size_t i = 1; i < shapes.size(); ++i) e.same_bits(others[i], pasts[i], where);
        }
    }
  });
}

}  // namespace mneme_test
