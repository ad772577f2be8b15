// SPDX-License-Identifier: Apache-2.0
#include "subject.hpp"

namespace mneme_test {

const std::vector<any_subject>& subjects() {
  static const std::vector<any_subject> all = [] {
    std::vector<any_subject> built;
    for (const subject_source add : subject_sources()) add(built);
    return built;
  }();
  return all;
}

}  // namespace mneme_test
