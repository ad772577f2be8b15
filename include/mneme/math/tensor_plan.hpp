// SPDX-License-Identifier: Apache-2.0
// tensor_plan: which tensors a memory has, their shapes, and how seeded ones start; said once.
#pragma once
#include "encode.hpp"
#include "random.hpp"

#include <functional>
#include <vector>

namespace mneme::inline MNEME_ABI {

// The config itself, as a constructor begins. Fails where M::check finds something wrong with it.
template <class M>
typename M::config checked_config(const typename M::config& c) {
  M::check(c).or_fail();
  return c;
}

// How a seeded tensor starts: element i, in row-major order, drawn from a stream of its own.
using start = std::function<double(random_stream& draw, index_t i)>;
namespace starts {
// The default of most frameworks: uniform in +-1/sqrt(fan in).
inline start uniform(index_t fan_in) {
  return [bound = 1 / std::sqrt(static_cast<double>(fan_in))](random_stream& draw, index_t) {
    return draw.uniform(-bound, bound);
  };
}
inline start normal(double deviation) {
  return [deviation](random_stream& draw, index_t) { return deviation * draw.normal(); };
}
inline start constant(double value) {
  return [value](random_stream&, index_t) { return value; };
}
}  // namespace starts

namespace detail {
// "gla" of gla_params: whose tensors an error is about. Nothing where params have another kind of name.
template <class Params>
constexpr std::string_view name_before_params() {
  constexpr std::string_view text = __PRETTY_FUNCTION__;  // .. [with Params = mneme::v1::gla_params; ..
  constexpr std::size_t end = text.find("_params", text.find("Params = "));
  if constexpr (end == text.npos) return {};
  constexpr std::size_t begin = text.find_last_of(": ", end) + 1;
  return text.substr(begin, end - begin);
}
}  // namespace detail

//   static tensor_plan<params> tensors(const config& c) {
//     tensor_plan<params> t;
//     t.add(&params::in_proj, {E, D}, c.storage);                    // uniform in +-1/sqrt(D)
//     t.add(&params::norm, {D}, starts::constant(1));
//     if (c.bias) t.add(&params::bias, {E}, starts::uniform(D));
//     return t;
//   }
// A tensor that is not in the plan of a config stays empty.
template <class Params>
class tensor_plan {
 public:
  using member = weight Params::*;

  // Stored as asked where rows fill the blocks of that type, else in float32.
  void add(member m, std::initializer_list<index_t> shape, start first, dtype storage = dtype::f32) {
    const bool fills = *(shape.end() - 1) % info(storage).block == 0;
    entries_.push_back({m, shape, std::move(first), fills ? storage : dtype::f32});
  }
  // Uniform in +-1/sqrt(columns).
  void add(member m, std::initializer_list<index_t> shape, dtype storage = dtype::f32) {
    add(m, shape, starts::uniform(*(shape.end() - 1)), storage);
  }

  // The tensors of a new memory. Each has a stream of its own: adding one leaves the others as they are.
  Params seeded(std::uint64_t seed) const {
    Params p;
    std::uint64_t stream = 0;
    for (const entry& e : entries_) {
      const auto dim = [&](std::size_t i) { return i < e.shape.size() ? e.shape[i] : -1; };
      weight w = weight::zeros<float>(dim(0), dim(1), dim(2));
      random_stream draw(seed, stream++);
      float* x = edit<float>(w);
      for (index_t i = 0; i < w.size(); ++i) x[i] = static_cast<float>(e.first(draw, i));
      p.*e.tensor = e.storage == dtype::f32 ? std::move(w) : stored_as(w, e.storage);
    }
    return p;
  }

  // An error unless every tensor has its shape, and those that are not in the plan are empty.
  status check(const Params& p) const {
    status first;
    Params::fields(
        [&](std::string_view name, const auto& tensor) {
          if (!first) return;
          for (const entry& e : entries_)
            if (static_cast<const void*>(&(p.*e.tensor)) == &tensor) {
              first = expect_shape(name, tensor, e.shape);
              return;
            }
          first = expect_shape(name, tensor, {});
        },
        p);
    constexpr std::string_view owner = detail::name_before_params<Params>();
    if (first || owner.empty()) return first;
    return message(std::string(owner), ": ", first.error().message());
  }
  // p itself. Fails if a tensor has another shape than the config asks for.
  Params checked(Params p) const {
    check(p).or_fail();
    return p;
  }

 private:
  struct entry {
    member tensor;
    std::vector<index_t> shape;
    start first;
    dtype storage;
  };
  std::vector<entry> entries_;
};

}  // namespace mneme::inline MNEME_ABI
