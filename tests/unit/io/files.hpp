// SPDX-License-Identifier: Apache-2.0
// What the tests of io share: a folder that goes away, bytes, and systematic damage.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace io_test {

using bytes = std::vector<std::byte>;

class folder {
 public:
  folder() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() /
            ("mneme-io-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
    std::filesystem::create_directory(path_);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::size_t files() const {
    using iterator = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(std::distance(iterator(path_), iterator()));
  }

 private:
  std::filesystem::path path_;
};

inline void write(const std::string& path, std::span<const std::byte> content) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}
inline bytes read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string s{std::istreambuf_iterator<char>(in), {}};
  const auto* from = reinterpret_cast<const std::byte*>(s.data());
  return {from, from + s.size()};
}
inline bytes bytes_of(std::string_view s) {
  const auto* from = reinterpret_cast<const std::byte*>(s.data());
  return {from, from + s.size()};
}
template <class N>
bytes& append(bytes& to, N number) {
  std::byte raw[sizeof(N)];
  std::memcpy(raw, &number, sizeof(N));
  to.insert(to.end(), raw, raw + sizeof(N));
  return to;
}
// A block of exactly these bytes, so that a sanitizer sees the first read beyond them.
inline std::shared_ptr<const bytes> exact(const bytes& content) {
  return std::make_shared<const bytes>(content);
}

// f(damaged) for every single byte changed in several ways and for every shorter length.
template <class F>
void for_every_damage(const bytes& good, F&& f) {
  for (std::size_t i = 0; i < good.size(); ++i)
    for (const unsigned mask : {0x01u, 0x20u, 0xffu}) {
      bytes bad = good;
      bad[i] ^= static_cast<std::byte>(mask);
      f(bad);
    }
  for (std::size_t n = 0; n < good.size(); ++n)
    f(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)));
}
// f(damaged) with hostile 32-bit and 64-bit numbers at every place: lengths, counts, dimensions, offsets.
template <class F>
void for_every_hostile_number(const bytes& good, F&& f) {
  const auto put = [&](std::size_t at, auto number) {
    if (at + sizeof number > good.size()) return;
    bytes bad = good;
    std::memcpy(bad.data() + at, &number, sizeof number);
    f(bad);
  };
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const std::uint32_t n : {0u, 1u, 2u, 9u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) put(at, n);
    for (const std::uint64_t n : {0ull, 1ull, 32ull, 1ull << 31, 1ull << 32, 1ull << 59, (1ull << 61) + 1,
                                  1ull << 63, ~0ull - 31, ~0ull})
      put(at, n);
  }
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace io_test
