// SPDX-License-Identifier: Apache-2.0
// Every pair of an eviction policy and a store that type-checks: which entries stay, and what is read of
// them.
#include "kv_pairs.hpp"
#include "../catch.hpp"

TEST_CASE("caches over any store keep what caches over contiguous slots keep", "[laws]") {
  CHECK(!mneme_test::kv_pairs().empty());
  for (const auto& pair : mneme_test::kv_pairs()) {
    const std::string found = pair.difference();
    if (!found.empty()) FAIL_CHECK(pair.name << ": " << found);
  }
}
