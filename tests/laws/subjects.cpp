// SPDX-License-Identifier: Apache-2.0
#include "subject.hpp"

#include <cstdlib>

namespace mneme_test {

namespace {
// MNEME_LAWS_OF=gla examines gla alone, with linear as its company in compositions.
bool asked_for(const any_subject& s) {
  const char* const of = std::getenv("MNEME_LAWS_OF");
  const std::string& name = std::visit([](const auto& one) -> const std::string& { return one.name; }, s);
  return !of || name.starts_with(of) || name.starts_with("linear<");
}
}  // namespace

const std::vector<any_subject>& subjects() {
  static const std::vector<any_subject> all = [] {
    std::vector<any_subject> built;
    for (const subject_source add : subject_sources()) add(built);
    std::erase_if(built, [](const any_subject& s) { return !asked_for(s); });
    return built;
  }();
  return all;
}

}  // namespace mneme_test
