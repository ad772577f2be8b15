// SPDX-License-Identifier: Apache-2.0
// The gated linear recurrence over a matrix memory: one family of rules, one set of operands.
#pragma once
#include "../core/bfloat16.hpp"
#include "../core/context.hpp"

namespace mneme::inline MNEME_ABI {

// How a token fades the state: not at all, by one number, by one per key channel (row of S) or per value
// channel (column of S).
enum class decay : std::uint8_t { none, scalar, key, value };
// How a token writes: add k v^T; delta: k recalls what it stands for, and that is replaced; dplr: the
// transition is any diagonal plus rank one.
enum class update : std::uint8_t { add, delta, dplr };
// Whether the output reads the state after the token's write, or before its decay and write.
enum class reads : std::uint8_t { after, before };

struct rule {
  decay forget = decay::none;
  update write = update::add;
  reads read = reads::after;
};

namespace rules {
inline constexpr rule linear_attention{};
inline constexpr rule retnet{.forget = decay::scalar};
inline constexpr rule simple_gla{.forget = decay::scalar};
inline constexpr rule mamba2{.forget = decay::scalar};
inline constexpr rule mlstm{.forget = decay::scalar};
inline constexpr rule gla{.forget = decay::key};
inline constexpr rule hgrn2{.forget = decay::key};
inline constexpr rule rwkv6{.forget = decay::key, .read = reads::before};
inline constexpr rule delta_net{.write = update::delta};
inline constexpr rule gated_delta_net{.forget = decay::scalar, .write = update::delta};
inline constexpr rule kda{.forget = decay::key, .write = update::delta};
inline constexpr rule comba{.forget = decay::scalar, .write = update::dplr};
inline constexpr rule rwkv7{.forget = decay::key, .write = update::dplr};
}  // namespace rules

// One matrix memory S [K, V] per head (V contiguous), updated in place, token by token:
//   add     S <- A o S + k v^T
//   delta   S <- A o S;   S <- S + k u^T,   u = beta (v - S^T k)
//   dplr    S <- A o S + b e^T + k v^T,     e = S^T a of the state before the decay
//   o = S^T q of the new state (reads::after) or of the state before the token (reads::before)
//   A_ij = 1 | alpha | alpha_i | alpha_j    multipliers, not logarithms: exactly 0 forgets everything
// Not part of the rule, since they never touch S: feature maps, convolutions, norms, the scale of q, a bonus,
// a stabiliser (it changes alpha and v), a sum normaliser (the state of a value column of ones).
// 2 (add), 3 (delta) or 4 (dplr) K V multiply-adds per token, K V more with decay.
// S is stored as elements of T or of bfloat16, half the bytes to go through. Then S_t = bfloat16(rule(S_t-1))
// after every token, however tokens are split into calls, and o reads the new state before it is rounded.
// Eight bits of precision lose what is small beside what it changes: a write below 2^-9 of an element, and,
// where nothing is written, a decay above 1 - 2^-9. Against a state of float, errors are 0.5 % of max |o| at
// decays of 0.9 to 0.99, and 2 % (delta, dplr) or 5 % (add) at 0.999, over 2,048 random tokens as over
// 16,384; without decay 2.5 % (delta, dplr) or 5 % and 14 % (add). K = V = 128. Chunks (below) and segments
// (segment.hpp) want a state of T.
// Source: for the family, Yang, Wang, Zhang, Shen, Kim, "Parallelizing Linear Transformers with the Delta
// Rule over Sequence Length", 2024; each rule's own source stands in its memory.
template <rule R>
struct recurrence {};

// The same in chunks of tokens: matrix products instead of a walk through S per token. Equal within rounding
// (L7), not in bits: chosen by context::numeric, never by the number of tokens.
// Source: Yang et al., as above, sections 3.2 and 3.3; decays multiplied out as there is no logarithm of 0.
template <rule R>
struct recurrence_chunk {};

// Operands of T tokens of one head, or of all heads side by side; row t belongs to token t. What a rule does
// not use stays empty.
template <class T>
struct recurrence_rows {
  mat_view<const T> q;           // [outputs, K]: only of the tokens whose output is wanted, scaled
  mat_view<const T> k = {};      // [T, K]
  mat_view<const T> v = {};      // [T, V]
  mat_view<const T> alpha = {};  // [T, 1], [T, K] or [T, V]
  mat_view<const T> beta = {};   // [T, 1]
  mat_view<const T> a = {};      // [T, K]
  mat_view<const T> b = {};      // [T, K]
};

template <rule R>
struct kernel<recurrence<R>, reference> {
  // S [K, V]; O [outputs, V] receives the outputs of the last tokens.
  template <class T, class Stored = T>
  static void run(context&, mat_view<Stored> S, const recurrence_rows<T>& in, mat_view<T> O) noexcept {
    const auto number = [](auto x) { return static_cast<double>(x); };
    const index_t tokens = in.k.rows(), unread = tokens - O.rows();
    for (index_t t = 0; t < tokens; ++t)
      for (index_t j = 0; j < S.cols(); ++j) {
        const auto fade = [&](index_t i) -> double {
          if constexpr (R.forget == decay::none) return 1;
          return number(in.alpha[t][R.forget == decay::key ? i : R.forget == decay::value ? j : 0]);
        };
        const T* q = t >= unread ? in.q[t - unread].data() : nullptr;
        double recalled = 0, before = 0, after = 0;
        for (index_t i = 0; i < S.rows(); ++i) {
          const double s = number(S[i][j]);
          if constexpr (R.write == update::delta) recalled += number(in.k[t][i]) * fade(i) * s;
          if constexpr (R.write == update::dplr) recalled += number(in.a[t][i]) * s;
          if (q) before += number(q[i]) * s;
        }
        double written = number(in.v[t][j]);
        if constexpr (R.write == update::delta) written = number(in.beta[t][0]) * (written - recalled);
        for (index_t i = 0; i < S.rows(); ++i) {
          double s = fade(i) * number(S[i][j]) + number(in.k[t][i]) * written;
          if constexpr (R.write == update::dplr) s += number(in.b[t][i]) * recalled;
          S[i][j] = static_cast<Stored>(s);
          if (q) after += number(q[i]) * s;
        }
        if (q) O[t - unread][j] = static_cast<T>(R.read == reads::after ? after : before);
      }
  }
};

// All heads of one stream: S is [heads, K, V], in place. q and k have key_heads heads side by side, value
// head h reads key head floor(h key_heads / heads); all other operands and O have `heads` of them.
template <rule R, class Backend, class T, class Stored>
void run_heads(context& ctx, index_t heads, index_t key_heads, Stored* S, const recurrence_rows<T>& in,
               mat_view<T> O) noexcept {
  const index_t K = in.k.cols() / key_heads, V = in.v.cols() / heads;
  const auto one_head = [&](index_t h, context& worker) {
    const auto part = [](auto X, index_t i, index_t count) {
      const index_t width = X.cols() / count;
      return X.rows() > 0 ? X.columns(i * width, width) : X;
    };
    const index_t key_head = h * key_heads / heads;
    kernel<recurrence<R>, Backend>::template run<T>(
        worker, mat_view<Stored>(S + h * K * V, K, V),
        {part(in.q, key_head, key_heads), part(in.k, key_head, key_heads), part(in.v, h, heads),
         part(in.alpha, h, heads), part(in.beta, h, heads), part(in.a, h, heads), part(in.b, h, heads)},
        part(O, h, heads));
  };
  // Below this much work, waking a thread costs more than it saves; the numbers are the same either way.
  constexpr index_t worth_a_thread = 1 << 17;
  if (in.k.rows() * heads * K * V >= worth_a_thread)
    ctx.parallel_for(heads, one_head);
  else
    for (index_t h = 0; h < heads; ++h) one_head(h, ctx);
}

}  // namespace mneme::inline MNEME_ABI
