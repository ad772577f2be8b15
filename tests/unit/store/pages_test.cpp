// SPDX-License-Identifier: Apache-2.0
// Pages that copies share until one writes.
#include <mneme/store/detail/pages.hpp>

#include "catch.hpp"
#include "laws/counting_resource.hpp"

using namespace mneme;
using mneme_test::counting_resource;
using store::detail::pages;

namespace {

constexpr index_t page_bytes = 192;
constexpr std::size_t each = 64 + page_bytes;

// Every byte of page i is i + 1 + salt.
pages filled(index_t n, place where = {}, int salt = 0, bool grows = true) {
  pages p(grows ? 0 : n, page_bytes, where);
  p.resize(n);
  for (index_t i = 0; i < n; ++i) std::memset(p.writable(i), static_cast<int>(i) + 1 + salt, page_bytes);
  return p;
}
std::size_t shared(const pages& p) { return p.footprint().shared / each; }
std::size_t owned(const pages& p) { return p.footprint().owned / each; }
std::size_t total(const pages& p) {
  return p.footprint().owned + p.footprint().shared + p.footprint().reserved;
}

// A resource that counts how often it is asked.
struct asked : resource {
  int times = 0;
  asked() : resource{&take, &give} {}

 private:
  static void* take(resource* self, std::size_t n) {
    ++static_cast<asked*>(self)->times;
    return heap()->allocate(heap(), n);
  }
  static void give(resource* self, void* p, std::size_t n) noexcept {
    ++static_cast<asked*>(self)->times;
    heap()->release(heap(), p, n);
  }
};

}  // namespace

TEST_CASE("a copy shares all pages, a writer copies one") {
  counting_resource memory;
  {
    pages a = filled(5, memory.here());
    CHECK(owned(a) == 5);
    pages b = a;
    CHECK(shared(a) == 5);
    CHECK(shared(b) == 5);
    CHECK(owned(b) == 0);
    CHECK(a == b);
    std::memset(b.writable(2), 99, page_bytes);
    CHECK_FALSE(a == b);
    CHECK(a == filled(5));
    CHECK(b[2][7] == std::byte{99});
    CHECK(shared(b) == 4);
    CHECK(owned(b) == 1);
    CHECK(owned(a) == 1);
    CHECK(memory.live == total(a) + total(b) - 4 * each);
    {
      const pages c = b;
      CHECK(shared(b) == 5);
    }
    CHECK(owned(b) == 1);
    a = pages();
    CHECK(owned(b) == 5);
    const pages moved = std::move(b);
    CHECK(owned(moved) == 5);
    CHECK(b == pages());
  }
  CHECK(memory.live == 0);
}

TEST_CASE("new pages are zero, also where spares become pages again") {
  pages a = filled(6);
  a.resize(2);
  CHECK(a == filled(2));
  a.resize(4);
  for (index_t i = 2; i < 4; ++i) CHECK(std::count(a[i], a[i] + page_bytes, std::byte{}) == page_bytes);
}

TEST_CASE("assignment between states of one size allocates nothing and shares nothing") {
  for (const bool grows : {false, true}) {
    asked memory;
    const pages source = filled(7, {&memory}, 3, grows), start(grows ? 0 : 7, page_bytes, {&memory});
    pages a = filled(7, {&memory}, 0, grows);
    a.reserve(7, 0);
    const int before = memory.times;
    a = source;
    CHECK(a == source);
    CHECK(shared(a) == (grows ? 6 : 0));
    CHECK(shared(source) == shared(a));
    std::memset(a.writable(6), 1, page_bytes);
    if (grows) a.resize(3), a.resize(7);
    CHECK(memory.times == before);
    CHECK(source == filled(7, {}, 3));
    a = start;
    CHECK(a == start);
    CHECK(memory.times == before);
    a.resize(7);
    CHECK(memory.times == before);
  }
}

TEST_CASE("assignment over shared, longer and shorter lists") {
  for (const bool grows : {false, true})
    for (index_t n : {0, 1, 4, 9})
      for (index_t m : {0, 1, 4, 9})
        for (const bool forked : {false, true}) {
          CAPTURE(grows, n, m, forked);
          counting_resource memory;
          {
            pages a = filled(n, memory.here(), 10, grows);
            const pages keep = forked ? a : pages();
            const pages b = filled(m, memory.here(), 20, grows);
            a = b;
            CHECK(a == b);
            if (forked) CHECK(keep == filled(n, {}, 10));
            a.reserve(m + 3, 0);
            for (index_t i = 0; i < m; ++i) std::memset(a.writable(i), 5, page_bytes);
            a.resize(m + 3);
            CHECK(b == filled(m, {}, 20));
            CHECK(owned(a) == static_cast<std::size_t>(m + 3));
          }
          CHECK(memory.live == 0);
        }
  pages wide(2, 64, {}), narrow = filled(3);
  wide = narrow;
  CHECK(wide == narrow);
  CHECK(wide.page_bytes() == page_bytes);
}

TEST_CASE("after reserve neither growing nor writing allocates, shared or not") {
  asked memory;
  pages a = filled(4, {&memory});
  const pages fork = a;
  a.reserve(9, 3);
  CHECK(shared(a) == 3);
  const int before = memory.times;
  std::memset(a.writable(3), 9, page_bytes);
  for (index_t n = 5; n <= 9; ++n) {
    a.resize(n);
    std::memset(a.writable(n - 1), 9, page_bytes);
  }
  CHECK(memory.times == before);
  CHECK(fork == filled(4));
}

TEST_CASE("a fork of ten thousand pages is made of pointers") {
  asked memory;
  const pages large = filled(10000, {&memory});
  const int before = memory.times;
  const pages fork = large;
  CHECK(memory.times == before + 1);  // the list of pointers
  CHECK(shared(fork) == 10000);
}

TEST_CASE("pages are one leaf") {
  pages a = filled(3), b = filled(3);
  const leaf x = as_leaf(a);
  CHECK(x.count == 3 * page_bytes);
  CHECK(x.data == nullptr);
  CHECK(x == as_leaf(b));
  buffer<std::byte> plain(3 * page_bytes);
  x.copy_to(plain.data());
  CHECK(plain[page_bytes] == std::byte{2});
  const leaf same{element::u8, false, plain.data(), plain.size(), 1, {}, nullptr, nullptr};
  CHECK(x == same);
  CHECK(same == x);
  plain[page_bytes] = std::byte{77};
  CHECK_FALSE(x == same);
  const pages fork = a;
  x.copy_from(plain.data());
  CHECK(a[1][0] == std::byte{77});
  CHECK(fork == b);
  x.resize(x.owner, page_bytes + 1);
  CHECK(a.size() == 2);
}
