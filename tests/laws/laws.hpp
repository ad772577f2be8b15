// SPDX-License-Identifier: Apache-2.0
// The laws of a Memory (DESIGN section 5). A law looks at one subject and returns what it found; bodies
// compile once.
#pragma once
#include "findings.hpp"

namespace mneme_test {

findings l01_split(const any_subject&);
findings l02_step(const any_subject&);
findings l03_start(const any_subject&);
findings l04_causal(const any_subject&);
findings l05_fork(const any_subject&);
findings l06_pure(const any_subject&);
findings l07_reference(const any_subject&);
findings l08_persist(const any_subject&);
findings l09_footprint(const any_subject&);
findings l10_poison(const any_subject&);
findings l11_shapes(const any_subject&);
findings l13_rewind(const any_subject&);
findings l14_evict(const any_subject&);
findings l15_quiet(const any_subject&);
findings l18_batch(const any_subject&);
findings l21_row_stable(const any_subject&);

struct law {
  const char* name;
  findings (*examine)(const any_subject&);
};
inline constexpr law all_laws[] = {
    {"L1 split", l01_split},         {"L2 step", l02_step},
    {"L3 start", l03_start},         {"L4 causal", l04_causal},
    {"L5 fork", l05_fork},           {"L6 pure", l06_pure},
    {"L7 reference", l07_reference}, {"L8 persist", l08_persist},
    {"L9 footprint", l09_footprint}, {"L10 poison", l10_poison},
    {"L11 shapes", l11_shapes},      {"L13 rewind", l13_rewind},
    {"L14 evict", l14_evict},        {"L15 quiet", l15_quiet},
    {"L18 batch", l18_batch},        {"L21 row-stable", l21_row_stable},
};

// Of compositions L13 is asked with all others, and none has a capacity of its own.
inline bool asks_compositions(const law& l) { return l.examine != l13_rewind && l.examine != l14_evict; }

}  // namespace mneme_test
