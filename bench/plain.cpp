// SPDX-License-Identifier: Apache-2.0
#include "plain.hpp"

#include <cmath>

// Before a loop: what it reads through one pointer is not what it writes through another.
#if defined(__clang__)
#define MNEME_BENCH_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define MNEME_BENCH_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace bench::plain {
namespace {

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

void additive(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
              int alpha_step, bool before, float* o) {
  for (index t = 0; t < n.tokens; ++t)
    for (index h = 0; h < n.heads; ++h) {
      const index key = (t * n.key_heads + h * n.key_heads / n.heads) * n.K;
      const float* vh = v + (t * n.heads + h) * n.V;
      const float* fades = alpha + (t * n.heads + h) * (alpha_step ? n.K : 1);
      float* oh = o + (t * n.heads + h) * n.V;
      for (index j = 0; j < n.V; ++j) oh[j] = 0;
      for (index i = 0; i < n.K; ++i) {
        float* s = S + (h * n.K + i) * n.V;
        const float qi = q[key + i], ki = k[key + i], fade = fades[i * alpha_step];
        MNEME_BENCH_INDEPENDENT
        for (index j = 0; j < n.V; ++j) {
          const float old = s[j], now = fade * old + ki * vh[j];
          s[j] = now;
          oh[j] += qi * (before ? old : now);
        }
      }
    }
}

void gated_delta(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
                 const float* beta, float* o) {
  for (index t = 0; t < n.tokens; ++t)
    for (index h = 0; h < n.heads; ++h) {
      const index key = (t * n.key_heads + h * n.key_heads / n.heads) * n.K, at = t * n.heads + h;
      const float fade = alpha[at];
      float* oh = o + at * n.V;
      float u[256];
      for (index j = 0; j < n.V; ++j) u[j] = oh[j] = 0;
      for (index i = 0; i < n.K; ++i) {
        const float* s = S + (h * n.K + i) * n.V;
        const float ki = k[key + i];
        MNEME_BENCH_INDEPENDENT
        for (index j = 0; j < n.V; ++j) u[j] += ki * s[j];
      }
      for (index j = 0; j < n.V; ++j) u[j] = beta[at] * (v[at * n.V + j] - fade * u[j]);
      for (index i = 0; i < n.K; ++i) {
        float* s = S + (h * n.K + i) * n.V;
        const float qi = q[key + i], ki = k[key + i];
        MNEME_BENCH_INDEPENDENT
        for (index j = 0; j < n.V; ++j) {
          const float now = fade * s[j] + ki * u[j];
          s[j] = now;
          oh[j] += qi * now;
        }
      }
    }
}

void rank_one(heads n, float* S, const float* q, const float* k, const float* v, const float* alpha,
              const float* a, const float* b, float* o) {
  for (index t = 0; t < n.tokens; ++t)
    for (index h = 0; h < n.heads; ++h) {
      const index at = t * n.heads + h, key = at * n.K;
      const float* vh = v + at * n.V;
      float* oh = o + at * n.V;
      float e[256];
      for (index j = 0; j < n.V; ++j) e[j] = oh[j] = 0;
      for (index i = 0; i < n.K; ++i) {
        const float* s = S + (h * n.K + i) * n.V;
        const float ai = a[key + i];
        MNEME_BENCH_INDEPENDENT
        for (index j = 0; j < n.V; ++j) e[j] += ai * s[j];
      }
      for (index i = 0; i < n.K; ++i) {
        float* s = S + (h * n.K + i) * n.V;
        const float qi = q[key + i], ki = k[key + i], bi = b[key + i], fade = alpha[key + i];
        MNEME_BENCH_INDEPENDENT
        for (index j = 0; j < n.V; ++j) {
          const float now = fade * s[j] + bi * e[j] + ki * vh[j];
          s[j] = now;
          oh[j] += qi * now;
        }
      }
    }
}

void selective_scan(index T, index E, index N, const float* u, const float* delta, const float* A,
                    const float* B, const float* C, const float* D, float* h, float* y) {
  for (index t = 0; t < T; ++t)
    for (index e = 0; e < E; ++e) {
      const float x = delta[t * E + e], dt = x > 20 ? x : std::log1p(std::exp(x)), in = u[t * E + e];
      const float *a = A + e * N, *b = B + t * N, *c = C + t * N;
      float *s = h + e * N, sum = D[e] * in;
      MNEME_BENCH_INDEPENDENT
      for (index n = 0; n < N; ++n) {
        const float now = std::exp(dt * a[n]) * s[n] + dt * in * b[n];
        s[n] = now;
        sum += c[n] * now;
      }
      y[t * E + e] = sum;
    }
}

void causal_conv(index T, index C, index K, const float* x, const float* w, float* past, float* y) {
  for (index t = 0; t < T; ++t) {
    float* out = y + t * C;
    for (index c = 0; c < C; ++c) out[c] = 0;
    for (index j = 0; j < K; ++j) {
      const index at = t - K + 1 + j;
      const float *in = at < 0 ? past + (at + K - 1) * C : x + at * C, *tap = w + j * C;
      MNEME_BENCH_INDEPENDENT
      for (index c = 0; c < C; ++c) out[c] += tap[c] * in[c];
    }
  }
  for (index i = 0; i < K - 1; ++i) {
    const index at = T - K + 1 + i;
    const float* in = at < 0 ? past + (at + K - 1) * C : x + at * C;
    for (index c = 0; c < C; ++c) past[i * C + c] = in[c];
  }
}

void attention(index H, index lists, index n, index d, const float* q, const float* keys, const float* values,
               float* scores, float* o) {
  const float scale = 1 / std::sqrt(static_cast<float>(d));
  for (index h = 0; h < H; ++h) {
    const index list = h * lists / H;
    float highest = -1e30f, total = 0;  // fast math knows no infinity
    for (index i = 0; i < n; ++i) {
      const float *qh = q + h * d, *k = keys + (i * lists + list) * d;
      float s = 0;
      for (index c = 0; c < d; ++c) s += qh[c] * k[c];
      scores[i] = s * scale;
      highest = scores[i] > highest ? scores[i] : highest;
    }
    for (index i = 0; i < n; ++i) total += scores[i] = std::exp(scores[i] - highest);
    float* oh = o + h * d;
    for (index c = 0; c < d; ++c) oh[c] = 0;
    for (index i = 0; i < n; ++i) {
      const float* v = values + (i * lists + list) * d;
      const float weight = scores[i] / total;
      MNEME_BENCH_INDEPENDENT
      for (index c = 0; c < d; ++c) oh[c] += weight * v[c];
    }
  }
}

void matmul(index R, index N, index K, const float* w, const float* x, float* y) {
  for (index r = 0; r < R; ++r)
    for (index n = 0; n < N; ++n) {
      float sum = 0;
      for (index k = 0; k < K; ++k) sum += w[n * K + k] * x[r * K + k];
      y[r * N + n] = sum;
    }
}

void lstm(index T, index H, const float* W, const float* P, float* h, float* c, float* z, float* y) {
  for (index t = 0; t < T; ++t) {
    matmul(1, 4 * H, H, W, h, z);
    for (index j = 0; j < 4 * H; ++j) z[j] += P[t * 4 * H + j];
    for (index j = 0; j < H; ++j) {
      const float i = sigmoid(z[j]), f = sigmoid(z[H + j]), g = std::tanh(z[2 * H + j]),
                  o = sigmoid(z[3 * H + j]);
      c[j] = f * c[j] + i * g;
      y[t * H + j] = h[j] = o * std::tanh(c[j]);
    }
  }
}

void gru(index T, index H, const float* W, const float* b, const float* P, float* h, float* z, float* y) {
  for (index t = 0; t < T; ++t) {
    const float* p = P + t * 3 * H;
    matmul(1, 3 * H, H, W, h, z);
    for (index j = 0; j < H; ++j) {
      const float r = sigmoid(p[j] + z[j] + b[j]), u = sigmoid(p[H + j] + z[H + j] + b[H + j]);
      const float n = std::tanh(p[2 * H + j] + r * (z[2 * H + j] + b[2 * H + j]));
      y[t * H + j] = h[j] = (1 - u) * n + u * h[j];
    }
  }
}

}  // namespace bench::plain
