// SPDX-License-Identifier: Apache-2.0
// L8: load(save(s)) == s and continues equally; equal states give equal bytes; what does not fit is refused
// and leaves the old state intact.
#include <mneme/io/state_file.hpp>

#include "laws.hpp"

namespace mneme_test {

findings l08_persist(const any_subject& s) {
  return examine(s, []<class T, class Input>(examination<T, Input>& e) {
    context ctx;
    const index_t rows = e.length();
    const auto X = e.rows(rows, 11), other = e.rows(rows, 12);
    const auto& m = e.memory();
    const auto says = [](const char* what) { return [what] { return std::string(what); }; };
    const mneme::state_info info{e.on().name, "some config", "some weights", "a note", rows, {}};
    using bytes = std::vector<std::byte>;

    stream<T, Input> saved(m, ctx);
    saved.scan(X);
    const auto written = mneme::save_state(saved.past, info);
    e.no_difference(written ? "" : written.error().message(), says("save"));
    if (!written) return;
    const bytes& file = *written;

    const auto loads = [&](mneme::any_state<T> into, auto where) {
      const auto found = mneme::load_state(file, m, into, info);
      e.no_difference(found ? "" : found.error().message(), where);
      if (!found) return;
      e.holds(found->note == info.note && found->position == info.position, where);
      e.same_bits(into, saved.past, where);
      stream<T, Input> original(m, ctx, saved.past), loaded(m, ctx, std::move(into));
      e.same_bits(loaded.scan(other), original.scan(other), where);
      e.same_bits(loaded.past, original.past, where);
    };
    loads(m.init(), says("load into a start state"));
    stream<T, Input> used(m, ctx);
    used.scan(other);
    loads(used.past, says("load over a used state"));

    // Canonical: the bytes follow from the value, not from how it came about.
    const auto same_file = [&](const mneme::any_state<T>& state, auto where) {
      const auto again = mneme::save_state(state, info);
      e.holds(again && (*again == file) == (state == saved.past), where);
    };
    same_file(mneme::any_state<T>(saved.past), says("the file of a copy"));
    auto assigned = used.past;
    assigned = saved.past;
    same_file(assigned, says("the file of a state assigned over another"));
    stream<T, Input> stepped(m, ctx);
    stepped.steps(X);
    same_file(stepped.past, says("the file of the same past, fed row by row"));

    const auto refuses = [&](std::span<const std::byte> damaged, const mneme::state_info& expected,
                             auto where) {
      auto old = used.past;
      e.holds(!mneme::load_state(damaged, m, old, expected).has_value(), where);
      e.same_bits(old, used.past, where);
    };
    auto another = info;
    another.kind = "another memory";
    refuses(file, another, says("a file of another kind"));
    another = info, another.config_hash = "another config";
    refuses(file, another, says("a file of another config"));
    another = info, another.weights_fingerprint = "other weights";
    refuses(file, another, says("a file under other weights"));
    refuses({}, info, says("an empty file"));
    for (const std::size_t parts : {2u, 3u, 16u})
      refuses(std::span(file).first(file.size() - file.size() / parts), info, says("a truncated file"));
    for (std::size_t i = 0; i < file.size(); i += 1 + file.size() / 13) {
      bytes damaged = file;
      damaged[i] ^= std::byte{0x10};
      refuses(damaged, info, [i] { return "a file with a wrong bit in byte " + std::to_string(i); });
    }
  });
}

}  // namespace mneme_test
