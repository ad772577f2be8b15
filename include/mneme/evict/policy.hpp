// SPDX-License-Identifier: Apache-2.0
// What an eviction policy is: a score for one entry. The cache does the rest.
#pragma once
#include "../fwd.hpp"

#include <concepts>
#include <limits>

namespace mneme::inline MNEME_ABI::evict {

// Where scores are compared: `list`, every key/value head evicts its own entry; `layer`, one victim for all heads.
enum class scope : std::uint8_t { list, layer };

// An entry as a policy sees it.
template <class T>
struct entry {
  index_t position;  // absolute position of its token
  T meta;            // what the policy remembers of it
  T received;        // attention from the newest query: mean over the heads of the scope (0 unless asked for)
};
// The moment of choice: after the newest token attended, one entry more than `capacity` is live.
struct moment {
  index_t newest;  // position of the newest token
  index_t capacity;
};

template <class T>
inline constexpr T keep_always = std::numeric_limits<T>::infinity();

// A policy is one small file:
//   name                       in tables and command lines
//   bounded                    false: nothing is ever evicted
//   where                      scope of the choice
//   reads_attention            whether `received` must be computed
//   has_meta, updated(meta, received)    what is remembered per entry, after every token
//   score(entry, moment)       the lowest leaves; among equal scores the oldest
template <class P>
concept Policy = requires {
  { P::name } -> std::convertible_to<const char*>;
  { P::bounded } -> std::convertible_to<bool>;
  { P::where } -> std::convertible_to<scope>;
  { P::reads_attention } -> std::convertible_to<bool>;
  { P::has_meta } -> std::convertible_to<bool>;
} && (!P::bounded || requires(const entry<float>& e, const moment& m) {
  { P::score(e, m) } -> std::same_as<float>;
}) && (!P::has_meta || requires(float x) {
  { P::updated(x, x) } -> std::same_as<float>;
});

}  // namespace mneme::inline MNEME_ABI::evict
