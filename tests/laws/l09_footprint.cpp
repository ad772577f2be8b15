// SPDX-License-Identifier: Apache-2.0
// L9: footprint(s) equals the bytes held, where init was told to take them; a bounded memory never grows.
#include "counting_resource.hpp"
#include "laws.hpp"

namespace mneme_test {

findings l09_footprint(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 13);
    const auto& m = e.memory();
    counting_resource heap;

    // Bytes of the buffers: scalars live in the state object itself.
    const auto buffers = [](const mneme::any_state<T>& state) {
      std::size_t n = 0;
      mneme::visit_leaves(state, [&](const mneme::field_path&, const mneme::leaf& l) {
        if (!l.scalar) n += l.held.owned + l.held.shared + l.held.reserved;
      });
      return n;
    };
    const auto agrees = [&](std::size_t held, const char* when) {
      e.no_difference(held == heap.live ? ""
                                        : "footprint says " + std::to_string(held) + " bytes, " +
                                              std::to_string(heap.live) + " are held",
                      [when] { return std::string(when); });
    };
    {
      stream<T, Input> one(m, ctx, m.init(heap.here()));
      agrees(buffers(one.past), "at the start");
      const auto start = mneme::footprint(one.past);
      for (int i = 0; i < 4; ++i) {
        one.scan(X);
        one.steps(X);
        agrees(buffers(one.past), "after rows");
        const auto now = mneme::footprint(one.past);
        if (!e.on().growing)
          e.holds(now.owned + now.shared + now.reserved == start.owned + start.shared + start.reserved,
                  [i] { return "a bounded memory has its first size after round " + std::to_string(i); });
      }
      const auto copy = one.past;
      agrees(buffers(one.past) + buffers(copy), "a copy lives where its source lives");
      auto assigned = m.init(heap.here());
      assigned = one.past;
      agrees(buffers(one.past) + buffers(copy) + buffers(assigned), "after an assignment");
    }
    agrees(0, "everything is given back");
  });
}

}  // namespace mneme_test
