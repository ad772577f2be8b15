// SPDX-License-Identifier: Apache-2.0
// The memory and the policy of CONTRIBUTING.md, registered as tests/laws/registration.cmake registers
// headers.
#include <every_other.hpp>
#include <moving_average.hpp>

#include "laws/register_kv.hpp"

namespace {

struct moving_average_family {
  template <class T>
  using native = mneme::moving_average<T>;
  template <class T>
  using oracle = mneme::moving_average<T, mneme::reference>;
  static std::string name() { return "moving_average"; }
};
const bool memory_registered = mneme_test::register_family<moving_average_family>();
const bool policy_registered = mneme_test::register_kv<mneme::evict::every_other, mneme_test::plain_store>();

}  // namespace
