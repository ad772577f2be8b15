// SPDX-License-Identifier: Apache-2.0
// mapped_file: the bytes of a file, read only, in memory by mapping or by reading.
#pragma once
#include "../core/buffer.hpp"
#include "../core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#if __has_include(<sys/mman.h>)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace mneme::inline MNEME_ABI {

namespace detail {
// "model.gguf: cannot open: No such file or directory", from errno.
inline mneme::error system_failure(const std::string& path, const char* action) {
  const int code = errno;
  return message(path, ": ", action, ": ", std::generic_category().message(code));
}
}  // namespace detail

// The bytes stay where they are for as long as the object lives; weights share it as their owner.
class mapped_file {
 public:
  using pointer = std::shared_ptr<const mapped_file>;

  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  // Maps a regular file; pages come in when they are touched. The file must not be truncated while it is
  // mapped (the system then ends the process): replace files by rename. Reads the file where the system
  // cannot map.
  // Errors: cannot open, not a regular file, cannot map; they name the path and the reason.
  static expected<pointer> open(const std::string& path) {
#if __has_include(<sys/mman.h>)
    const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe must not block
    if (file.number < 0) return detail::system_failure(path, "cannot open");
    struct stat about{};
    if (::fstat(file.number, &about) != 0) return detail::system_failure(path, "cannot look at");
    if (!S_ISREG(about.st_mode)) return message(path, ": not a regular file");
    if (!std::in_range<std::ptrdiff_t>(about.st_size)) return message(path, ": too large to map");
    const auto size = static_cast<std::size_t>(about.st_size);
    if (size == 0) return pointer(new mapped_file(path));
    void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
    if (at == MAP_FAILED) return detail::system_failure(path, "cannot map");
    return pointer(new mapped_file(path, at, size));
#else
    return read(path);
#endif
  }

  // Copies a regular file into memory: for content that must not change once it has been checked.
  // Errors: cannot open, not a regular file, cannot read; they name the path and the reason.
  static expected<pointer> read(const std::string& path) {
    std::error_code trouble;
    const bool regular = std::filesystem::is_regular_file(path, trouble);
    if (!regular && trouble) return message(path, ": cannot open: ", trouble.message());
    const std::uintmax_t size = regular ? std::filesystem::file_size(path, trouble) : 0;
    if (!regular || trouble) return message(path, ": not a regular file");
    if (!std::in_range<index_t>(size + 1)) return message(path, ": too large to read");
    const auto room = static_cast<index_t>(size) + 1;  // one more, to meet the end in the first round
    const std::unique_ptr<std::FILE, closer> file(std::fopen(path.c_str(), "rb"));
    if (!file) return detail::system_failure(path, "cannot open");
    buffer<std::byte> content;
    index_t used = 0;
    for (;;) {
      if (used == content.size()) content.resize(std::max(room, 2 * used));
      const auto left = static_cast<std::size_t>(content.size() - used);
      const std::size_t got = std::fread(content.data() + used, 1, left, file.get());
      used += static_cast<index_t>(got);
      if (got == 0) break;
    }
    if (std::ferror(file.get())) return detail::system_failure(path, "cannot read");
    content.resize(used);
    return pointer(new mapped_file(path, std::move(content)));
  }

  ~mapped_file() {
#if __has_include(<sys/mman.h>)
    if (mapping_) ::munmap(mapping_, bytes_.size());
#endif
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  struct closer {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
#if __has_include(<sys/mman.h>)
  struct descriptor {
    int number;
    ~descriptor() {
      if (number >= 0) ::close(number);
    }
  };
#endif

  explicit mapped_file(std::string path) : path_(std::move(path)) {}
  mapped_file(std::string path, void* mapping, std::size_t size)
      : path_(std::move(path)), mapping_(mapping), bytes_(static_cast<const std::byte*>(mapping), size) {}
  mapped_file(std::string path, buffer<std::byte> content)
      : path_(std::move(path)),
        content_(std::move(content)),
        bytes_(content_.data(), static_cast<std::size_t>(content_.size())) {}

  std::string path_;
  void* mapping_ = nullptr;
  buffer<std::byte> content_;
  std::span<const std::byte> bytes_;
};

}  // namespace mneme::inline MNEME_ABI
