// SPDX-License-Identifier: Apache-2.0
// Peers that need no package: the equations as one writes them down, in float32, for the compiler to
// vectorise. They are built with -O3 -ffast-math, the library is not. One thread; sizes as in mneme/op/.
#pragma once

namespace bench::plain {

using index = long;

// o = S^T q;  S <- diag(alpha) S + k v^T. alpha_step: 1, one decay per key channel; 0, one for all of them.
// before: o reads the state before the write. T tokens, each `heads` (or key_heads) heads side by side.
struct heads {
  index tokens, heads, key_heads, K, V;
};
void additive(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
              int alpha_step, bool before, float* o);
// S <- alpha S;  S <- S + beta k (v - S^T k)^T;  o = S^T q
void gated_delta(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
                 const float* beta, float* o);
// e = S^T a;  S <- diag(alpha) S + b e^T + k v^T;  o = S^T q
void rank_one(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
              const float* a, const float* b, float* o);

// u, delta, y [T, E]   A, h [E, N]   B, C [T, N]   D [E]; softplus of delta
void selective_scan(index T, index E, index N, const float* u, const float* delta, const float* A,
                    const float* B, const float* C, const float* D, float* h, float* y);
// x, y [T, C]   w [K, C]   past [K - 1, C]
void causal_conv(index T, index C, index K, const float* x, const float* w, float* past, float* y);
// q, o [H, d]   keys, values [n, lists, d]   scores [n]
void attention(index H, index lists, index n, index d, const float* q, const float* keys, const float* values,
               float* scores, float* o);
// y [R, N] = x [R, K] w^T, w [N, K]
void matmul(index R, index N, index K, const float* w, const float* x, float* y);
// P [T, 4 H] or [T, 3 H], W [4 H, H] or [3 H, H], z scratch of that width
void lstm(index T, index H, const float* W, const float* P, float* h, float* c, float* z, float* y);
void gru(index T, index H, const float* W, const float* b, const float* P, float* h, float* z, float* y);

}  // namespace bench::plain
