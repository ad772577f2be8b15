// SPDX-License-Identifier: Apache-2.0
// L10: what lies in scratch, outputs, padding and fresh memory beforehand changes nothing, to the bit.
#include "counting_resource.hpp"
#include "laws.hpp"

namespace mneme_test {

findings l10_poison(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    const index_t rows = e.length();
    const auto X = e.rows(rows, 14);
    const auto& m = e.memory();
    constexpr std::size_t scratch = std::size_t{1} << 21;  // more than any sample needs: no block is chained
    const auto filled = [&](context& ctx, unsigned char with) {
      context::frame all(ctx);
      const auto bytes = all.row<unsigned char>(scratch - 64);
      std::memset(bytes.data(), with, scratch - 64);
    };

    counting_resource heaps[] = {counting_resource(0x00), counting_resource(0xff), counting_resource(0x7f)};
    matrix<T> Y, Z, L;
    auto past = m.init();
    for (counting_resource& heap : heaps) {  // zeros, NaN, large numbers
      const unsigned char with = heap.fill;
      const auto where = [&](const char* what) {
        return [what, with] { return what + std::string(" over bytes ") + std::to_string(with); };
      };
      context ctx(scratch);
      stream<T, Input> scanned(m, ctx, m.init(heap.here())), stepped(m, ctx, m.init(heap.here())),
          batched(m, ctx, m.init(heap.here()));
      e.same_bits(scanned.past, m.init(), where("init"));

      T before;
      std::memset(&before, with, sizeof before);
      matrix<T> y(rows, m.d_out(), {}, before), z = y, l = y;
      filled(ctx, with);
      m.scan(ctx, scanned.past, X, y.view());
      for (index_t t = 0; t < rows; ++t) {
        filled(ctx, with);
        m.step(ctx, stepped.past, X.view()[t], z.view()[t]);
      }
      filled(ctx, with);
      const mneme::lane<mneme::any_state<T>> lane{&batched.past, rows, rows};
      m.scan_many(ctx, {&lane, 1}, X, l.view());
      if (with == 0x00) {
        Y = y, Z = z, L = l;
        past = scanned.past;
        continue;
      }
      e.same_bits(y, Y, where("scan"));
      e.same_bits(z, Z, where("steps"));
      e.same_bits(l, L, where("scan_many"));
      e.same_bits(scanned.past, past, where("scan"));
    }

    // Poison around strided rows is neither read nor written.
    context ctx;
    const placement wide{5, 0};
    const matrix<Input> in(X, wide);
    stream<T, Input> one(m, ctx);
    const auto strided = one.scan(in, -1, wide);
    e.same_bits(strided, Y, [] { return std::string("rows with poison between them"); });
    e.holds(strided.surrounding_untouched(),
            [] { return std::string("the padding of the outputs is untouched"); });
    stream<T, Input> few(m, ctx);
    e.holds(few.scan(in, 3, wide).surrounding_untouched(),
            [] { return std::string("the padding of the last outputs is untouched"); });
  });
}

}  // namespace mneme_test
