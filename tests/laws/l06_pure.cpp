// SPDX-License-Identifier: Apache-2.0
// L6: same input, same bits, twice; nothing but the state changes; two threads with two states do not
// interfere.
#include "executors.hpp"
#include "laws.hpp"

#include <atomic>
#include <thread>

namespace mneme_test {

findings l06_pure(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 8), other = e.rows(rows, 9);
    const auto& m = e.memory();
    const auto says = [](const char* what) { return [what] { return std::string(what); }; };
    const auto run = [&](context& with, mneme::mat_view<const Input> in) {
      stream<T, Input> one(m, with);
      matrix<T> Y = one.scan(in);
      return std::pair(std::move(Y), std::move(one.past));
    };

    const auto [Y, past] = run(ctx, X);
    const auto expect = [&](const auto& got, auto where) {
      e.same_bits(got.first, Y, where);
      e.same_bits(got.second, past, where);
    };
    const auto [Y_other, past_other] = run(ctx, other);
    expect(run(ctx, X), says("the same rows again"));
    context fresh;
    expect(run(fresh, X), says("a fresh context"));
    const auto copy = m;
    stream<T, Input> twin(copy, ctx);
    expect(std::pair(twin.scan(X), twin.past), says("a copy of the memory"));
    reverse_executor threads;
    context parallel;
    parallel.threads = &threads;
    expect(run(parallel, X), says("an executor that starts with the last index"));

    const matrix<Input> input = X;
    run(ctx, X);
    stream<T, Input>(m, ctx).steps(X);
    e.holds(input == X, says("the input is not written"));

    if (m.readable()) {
      const auto before = copy_leaves(past);
      matrix<T> first(1, m.d_out()), second(1, m.d_out());
      m.read(ctx, past, X.view()[0], first.view()[0]);
      m.read(ctx, past, X.view()[0], second.view()[0]);
      e.same_bits(second, first, says("read twice"));
      e.holds(copy_leaves(past) == before, says("read writes nothing"));
    }

    // Two threads, each with its own rows, state and context.
    using outcome = std::pair<matrix<T>, mneme::any_state<T>>;
    constexpr std::size_t rounds = 8;
    std::vector<outcome> mine(rounds), theirs(rounds);
    std::atomic<std::size_t> arrived = 0;
    const auto work = [&](std::vector<outcome>& results, const matrix<Input>& in) {
      context own;
      for (std::size_t round = 0; round < rounds; ++round) {
        ++arrived;
        while (arrived < 2 * (round + 1)) std::this_thread::yield();  // start every round together
        results[round] = run(own, in);
      }
    };
    std::thread a(work, std::ref(mine), std::cref(X)), b(work, std::ref(theirs), std::cref(other));
    a.join();
    b.join();
    for (const outcome& r : mine) expect(r, says("beside another thread"));
    for (const outcome& r : theirs) {
      e.same_bits(r.first, Y_other, says("beside another thread"));
      e.same_bits(r.second, past_other, says("beside another thread"));
    }
  });
}

}  // namespace mneme_test
