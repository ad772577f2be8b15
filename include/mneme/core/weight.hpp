// SPDX-License-Identifier: Apache-2.0
// weight: an immutable shared tensor with a run-time storage type.
#pragma once
#include "buffer.hpp"
#include "dtype.hpp"
#include "error.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

namespace mneme::inline MNEME_ABI {

// Pointer, shape of up to three dimensions (row major, outermost first), storage type, shared owner. Copying
// a model shares its weights; a mapped file, a tied embedding, a second model are just owners. Rows are
// packed; a row of a block format must be a whole number of blocks.
class weight {
 public:
  weight() = default;
  // Bytes that somebody else owns and `owner` keeps alive. Fails if the last dimension does not fill its
  // blocks.
  weight(const void* data, std::array<index_t, 3> shape, int rank, dtype type,
         std::shared_ptr<const void> owner)
      : data_(data), shape_(shape), rank_(rank), type_(type), owner_(std::move(owner)) {
    if (cols() % info(type).block != 0)
      fail(message("a row of ", cols(), " columns does not fill blocks of ", info(type).block, " (",
                   info(type).name, ")"));
  }
  // A zeroed tensor of T (float or double) of our own.
  template <class T>
  static weight zeros(index_t d0, index_t d1 = -1, index_t d2 = -1) {
    const int rank = d2 >= 0 ? 3 : d1 >= 0 ? 2 : 1;
    const std::array<index_t, 3> shape{d0, d1 >= 0 ? d1 : 1, d2 >= 0 ? d2 : 1};
    index_t n = 1;
    for (const index_t d : shape)
      if (__builtin_mul_overflow(n, d, &n))
        fail(message("a tensor of ", shape[0], " x ", shape[1], " x ", shape[2],
                     " elements is beyond any memory"));
    auto owned = std::make_shared<buffer<T>>(n);
    const void* p = owned->data();
    weight w(p, shape, rank, dtype_of<T>, std::move(owned));
    w.writable_ = true;
    return w;
  }
  // Raw bytes of any storage type, copied; `shape` as above.
  static weight copy_of(const void* bytes, std::array<index_t, 3> shape, int rank, dtype type) {
    weight described(bytes, shape, rank, type, nullptr);
    auto owned = std::make_shared<buffer<std::byte>>(static_cast<index_t>(described.bytes()));
    if (described.bytes() > 0) std::memcpy(owned->data(), bytes, described.bytes());
    described.data_ = owned->data();
    described.owner_ = std::move(owned);
    described.writable_ = true;
    return described;
  }

  const void* data() const { return data_; }
  dtype type() const { return type_; }
  int rank() const { return rank_; }
  index_t dim(int i) const { return shape_[static_cast<std::size_t>(i)]; }
  // Seen as a matrix: the last dimension is contiguous, all others are rows. A vector is one row.
  index_t cols() const { return rank_ == 0 ? 0 : dim(rank_ - 1); }
  index_t rows() const { return rank_ == 0 ? 0 : rank_ == 1 ? 1 : rank_ == 2 ? dim(0) : dim(0) * dim(1); }
  index_t size() const { return rows() * cols(); }
  std::size_t bytes() const { return static_cast<std::size_t>(rows() * row_bytes(type_, cols())); }
  const void* row(index_t r) const {
    return static_cast<const std::byte*>(data_) + r * row_bytes(type_, cols());
  }
  bool shared() const { return owner_.use_count() > 1; }
  explicit operator bool() const { return data_ != nullptr; }

  // The rows once more, in the order in which products read them; null unless asked for: math/interleave.hpp.
  const std::byte* interleaved() const { return interleaved_.get(); }

  std::span<const index_t> shape() const { return {shape_.data(), static_cast<std::size_t>(rank_)}; }

  // Two weights are equal if shape, type and bytes are.
  friend bool operator==(const weight& a, const weight& b) {
    return a.rank_ == b.rank_ && a.shape_ == b.shape_ && a.type_ == b.type_ &&
           (a.data_ == b.data_ || a.bytes() == 0 || std::memcmp(a.data_, b.data_, a.bytes()) == 0);
  }

 private:
  template <class T>
  friend T* edit(weight& w);
  friend weight interleaved(weight w);
  friend weight rows_of(const weight& w, index_t from, index_t count);

  const void* data_ = nullptr;
  std::array<index_t, 3> shape_{0, 1, 1};
  int rank_ = 0;
  dtype type_ = dtype::f32;
  bool writable_ = false;  // the bytes are our own allocation
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const std::byte> interleaved_;
};

inline constexpr index_t interleaved_rows = 64;  // of a block: math/interleave.hpp

// Rows [from, from + count) of a matrix, sharing its bytes, and its interleaved blocks if `from` begins one.
inline weight rows_of(const weight& w, index_t from, index_t count) {
  weight rows(w.row(from), {count, w.cols(), 1}, 2, w.type(), std::make_shared<const weight>(w));
  if (w.interleaved() && from % interleaved_rows == 0)
    rows.interleaved_ = {w.interleaved_, w.interleaved() + from * row_bytes(w.type(), w.cols())};
  return rows;
}

// "[3, 5]"
template <class Numbers>
std::string shape_text(const Numbers& shape) {
  std::string s = "[";
  for (const auto d : shape) {
    if (s.size() > 1) s += ", ";
    s += detail::text(d);
  }
  return s + "]";
}

// An error unless w has this shape; `name` is the tensor's name in checkpoints.
inline status expect_shape(std::string_view name, const weight& w, std::span<const index_t> shape) {
  if (std::ranges::equal(w.shape(), shape)) return {};
  return message("tensor ", std::string(name), " has shape ", shape_text(w.shape()), ", expected ",
                 shape_text(shape));
}
inline status expect_shape(std::string_view name, const weight& w, std::initializer_list<index_t> shape) {
  return expect_shape(name, w, std::span(shape.begin(), shape.size()));
}

// Elements of a weight stored as T (float or double). Precondition: w.type() == dtype_of<T>.
template <class T>
const T* data(const weight& w) {
  return static_cast<const T*>(w.data());
}

// Writable elements; unshares first, and moves away from bytes that are not ours, such as a mapped file.
template <class T>
T* edit(weight& w) {
  if (w.type() != dtype_of<T>)
    fail(message("cannot edit a ", info(w.type()).name, " weight as ", info(dtype_of<T>).name));
  if (!w.writable_ || w.shared()) w = weight::copy_of(w.data_, w.shape_, w.rank_, w.type_);
  w.interleaved_.reset();
  return static_cast<T*>(const_cast<void*>(w.data_));
}

}  // namespace mneme::inline MNEME_ABI
