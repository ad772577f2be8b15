// SPDX-License-Identifier: Apache-2.0
// What a call throws, as text.
#pragma once
#include <mneme/core/error.hpp>

#include <string>

namespace mneme_test {

std::string error_text(auto&& f) {
  try {
    f();
  } catch (const mneme::error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace mneme_test
