// SPDX-License-Identifier: Apache-2.0
// The caches of this machine, and where bytes come from.
#pragma once

namespace bench {

enum class level { l1 = 1, l2, l3, dram };

struct caches {
  double l1, l2;  // bytes, of one core
  double l3;      // bytes, of all
};
const caches& machine();

// What a cold case goes round through: far more than L2, and, where that is possible, well within L3.
double cold_bytes();
// The nearest cache that may hold what calls go round through; in doubt the nearer one, since a limit must
// not be too slow.
level level_of(double footprint, int threads);

}  // namespace bench
