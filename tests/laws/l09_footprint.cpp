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

    // Bytes of the buffers: scalars live in the state object itself. What is shared, among states or parts of
    // one, is told by each and held once.
    const auto buffers = [](const auto&... states) {
      mneme::footprint_t sum;
      const auto add = [&](const mneme::field_path&, const mneme::leaf& l) {
        if (!l.scalar) sum += l.held;
      };
      (mneme::visit_leaves(states, add), ...);
      return sum;
    };
    const auto agrees = [&](const mneme::footprint_t& says, const char* when) {
      const std::size_t alone = says.owned + says.reserved;
      const bool fits =
          says.shared == 0 ? alone == heap.live : alone < heap.live && heap.live < alone + says.shared;
      e.no_difference(fits ? ""
                           : "footprint says " + std::to_string(alone) + " bytes and " +
                                 std::to_string(says.shared) + " shared, " + std::to_string(heap.live) +
                                 " are held",
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
        if (!e.on().growing || (m.evicting() && m.capacity() > 0))
          e.holds(now.owned + now.shared + now.reserved == start.owned + start.shared + start.reserved,
                  [i] { return "a bounded memory has its first size after round " + std::to_string(i); });
        m.end_segment(ctx, one.past);
        agrees(buffers(one.past), "after a boundary");
      }
      const auto copy = one.past;
      agrees(buffers(one.past, copy), "a copy lives where its source lives");
      auto assigned = m.init(heap.here());
      assigned = one.past;
      agrees(buffers(one.past, copy, assigned), "after an assignment");
    }
    agrees({}, "everything is given back");
  });
}

}  // namespace mneme_test
