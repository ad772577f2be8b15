// SPDX-License-Identifier: Apache-2.0
// A resource that counts what is taken from it and fills it with a byte before handing it out.
#pragma once
#include <mneme/core/buffer.hpp>

namespace mneme_test {

struct counting_resource : mneme::resource {
  int allocations = 0, releases = 0;
  std::size_t live = 0;  // bytes handed out and not given back
  unsigned char fill;

  explicit counting_resource(unsigned char filled_with = 0xff) : resource{&take, &give}, fill(filled_with) {}
  mneme::place here() { return {this}; }

 private:
  static void* take(mneme::resource* self, std::size_t n) {
    auto& counted = *static_cast<counting_resource*>(self);
    ++counted.allocations, counted.live += n;
    return std::memset(::operator new(n, std::align_val_t{64}), counted.fill, n);
  }
  static void give(mneme::resource* self, void* p, std::size_t n) noexcept {
    auto& counted = *static_cast<counting_resource*>(self);
    ++counted.releases, counted.live -= n;
    ::operator delete(p, std::align_val_t{64});
  }
};

}  // namespace mneme_test
