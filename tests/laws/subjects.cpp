// SPDX-License-Identifier: Apache-2.0
#include "subject.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace mneme_test {

namespace {
bool named(const any_subject& s, const char* start) {
  return std::visit([start](const auto& one) { return one.name.starts_with(start); }, s);
}
}  // namespace

const std::vector<any_subject>& subjects() {
  static const std::vector<any_subject> all = [] {
    std::vector<any_subject> built;
    for (const subject_source add : subject_sources()) add(built);
    // MNEME_LAWS_OF=gla examines gla alone, with linear as its company in compositions.
    if (const char* const of = std::getenv("MNEME_LAWS_OF")) {
      if (std::ranges::none_of(built, [of](const any_subject& s) { return named(s, of); }))
        throw std::runtime_error(std::string("MNEME_LAWS_OF is ") + of +
                                 ", expected how the name of a memory begins");
      std::erase_if(built, [of](const any_subject& s) { return !named(s, of) && !named(s, "linear<"); });
    }
    return built;
  }();
  return all;
}

}  // namespace mneme_test
