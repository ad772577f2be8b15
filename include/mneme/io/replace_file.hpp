// SPDX-License-Identifier: Apache-2.0
// replace_file: a file is either the old one or the whole new one, whatever happens in between.
#pragma once
#include "mapped_file.hpp"

#include <atomic>

namespace mneme::inline MNEME_ABI {

// What one write takes. A type of ours: of the functions of a vector of it, every unit keeps its own copy.
struct file_part {
  std::span<const std::byte> bytes;
};

namespace detail {
inline std::string fresh_name(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  std::string name = path + ".new";
#if __has_include(<unistd.h>)
  name += detail::text(::getpid()) + "-";
#endif
  return name + detail::text(counter.fetch_add(1));
}

// Makes a rename in the folder of `path` durable. Not every file system can; the file is in place by then.
inline void sync_folder_of(const std::string& path) {
#if __has_include(<unistd.h>)
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int number = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (number < 0) return;
  (void)!::fsync(number);
  ::close(number);
#else
  (void)path;
#endif
}

inline bool write_parts(std::FILE* file, std::span<const file_part> parts) {
  for (const auto [part] : parts)
    if (!part.empty() && std::fwrite(part.data(), 1, part.size(), file) != part.size()) return false;
  if (std::fflush(file) != 0) return false;
#if __has_include(<unistd.h>)
  if (::fsync(::fileno(file)) != 0) return false;
#endif
  return true;
}
}  // namespace detail

// Writes the parts one after the other into a new file beside `path`, syncs it and renames it to `path`.
// Errors name the path and the reason; an existing file is then as it was, and the new one is removed.
inline status replace_file(const std::string& path, std::span<const file_part> parts) {
  std::string fresh;
  std::FILE* file = nullptr;
  for (int attempt = 0; file == nullptr && attempt < 100; ++attempt) {  // a name may be left from a crash
    fresh = detail::fresh_name(path);
    file = std::fopen(fresh.c_str(), "wbx");
    if (file == nullptr && errno != EEXIST) break;
  }
  if (file == nullptr) return detail::system_failure(path, "cannot create a file beside it");
  const bool written = detail::write_parts(file, parts);
  const int reason = errno;
  if (std::fclose(file) != 0 || !written) {
    if (!written) errno = reason;
    const mneme::error e = detail::system_failure(path, "cannot write");
    std::remove(fresh.c_str());
    return e;
  }
#if !__has_include(<unistd.h>)
  std::remove(path.c_str());  // elsewhere rename does not replace
#endif
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    const mneme::error e = detail::system_failure(path, "cannot rename the new file");
    std::remove(fresh.c_str());
    return e;
  }
  detail::sync_folder_of(path);
  return {};
}

}  // namespace mneme::inline MNEME_ABI
