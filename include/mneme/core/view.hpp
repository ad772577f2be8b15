// SPDX-License-Identifier: Apache-2.0
// Non-owning views of rows and of matrices with strided rows, typed by the space their bytes live in.
#pragma once
#include "../fwd.hpp"

#include <concepts>
#include <span>
#include <type_traits>

namespace mneme::inline MNEME_ABI {

// n contiguous elements. Device views have no operator[]: device memory is never dereferenced on the host.
template <class T, class Space>
class row_view {
 public:
  using value_type = std::remove_cv_t<T>;

  constexpr row_view() = default;
  constexpr row_view(T* data, index_t size) : data_(data), size_(size) {}
  template <class U>
    requires(std::same_as<const U, T> && !std::is_const_v<U>)
  constexpr row_view(row_view<U, Space> o) : data_(o.data()), size_(o.size()) {}
  // Any contiguous host range: std::vector, std::array, std::span.
  template <class R>
    requires std::same_as<Space, host> && std::constructible_from<std::span<T>, R&&> &&
                 (!std::same_as<std::remove_cvref_t<R>, row_view<value_type, Space>>) &&
                 (!std::same_as<std::remove_cvref_t<R>, row_view>)
  constexpr row_view(R&& range)
      : data_(std::span<T>(range).data()), size_(static_cast<index_t>(std::span<T>(range).size())) {}

  constexpr T* data() const { return data_; }
  constexpr index_t size() const { return size_; }
  constexpr T& operator[](index_t i) const
    requires std::same_as<Space, host>
  {
    return data_[i];
  }
  constexpr T* begin() const
    requires std::same_as<Space, host>
  {
    return data_;
  }
  constexpr T* end() const
    requires std::same_as<Space, host>
  {
    return data_ + size_;
  }
  // Elements [from, from + count).
  constexpr row_view sub(index_t from, index_t count) const { return {data_ + from, count}; }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

// rows x cols elements; a row is contiguous, rows are `stride` elements apart (stride >= cols).
template <class T, class Space>
class mat_view {
 public:
  using value_type = std::remove_cv_t<T>;

  constexpr mat_view() = default;
  constexpr mat_view(T* data, index_t rows, index_t cols) : mat_view(data, rows, cols, cols) {}
  constexpr mat_view(T* data, index_t rows, index_t cols, index_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  template <class U>
    requires(std::same_as<const U, T> && !std::is_const_v<U>)
  constexpr mat_view(mat_view<U, Space> o)
      : data_(o.data()), rows_(o.rows()), cols_(o.cols()), stride_(o.stride()) {}
  // One row seen as a 1 x n matrix.
  constexpr explicit mat_view(row_view<T, Space> r) : mat_view(r.data(), 1, r.size()) {}

  constexpr T* data() const { return data_; }
  constexpr index_t rows() const { return rows_; }
  constexpr index_t cols() const { return cols_; }
  constexpr index_t stride() const { return stride_; }
  constexpr row_view<T, Space> operator[](index_t r) const { return {data_ + r * stride_, cols_}; }
  // Rows [from, to).
  constexpr mat_view range(index_t from, index_t to) const {
    return {data_ + from * stride_, to - from, cols_, stride_};
  }
  constexpr mat_view first(index_t n) const { return range(0, n); }
  constexpr mat_view last(index_t n) const { return range(rows_ - n, rows_); }
  // Columns [from, from + count) of every row.
  constexpr mat_view columns(index_t from, index_t count) const {
    return {data_ + from, rows_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  index_t rows_ = 0, cols_ = 0, stride_ = 0;
};

}  // namespace mneme::inline MNEME_ABI
