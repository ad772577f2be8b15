# SPDX-License-Identifier: Apache-2.0
"""The problems of mneme-bench, drawn with numpy, and their answers by the definition in float64.

of("gla/16x128x128/decode/hot") gives operands in float32, `states` (1, or as many as a cold case rotates) and
`expected`, the outputs of the first tokens.
"""

import math

import numpy as np

COLD_BYTES = 16 << 20   # as many states as fill that; beyond the second-level cache of most machines
CHECKED = 20            # tokens of a prefill


class Problem:
    tolerance = 2e-4    # relative to the largest output

    def __init__(self, tokens, hot, state_bytes):
        self.tokens = tokens
        self.states = 1 if hot else max(2, math.ceil(COLD_BYTES / state_bytes))
        self.random = np.random.default_rng(1)

    def draw(self, *shape, low=-1.0, high=1.0):
        return self.random.uniform(low, high, shape).astype(np.float32)


RULES = {  # decay, write, whether the output reads the state before the write
    "linear_attention": (None, "add", False),
    "mamba2": ("head", "add", False),
    "gla": ("key", "add", False),
    "rwkv6": ("key", "add", True),
    "gated_delta": ("head", "delta", False),
    "rwkv7": ("key", "rank one", False),
}


class Recurrence(Problem):
    """S <- decay S + write;  o = S^T q, every head a state S [K, V]."""

    def __init__(self, op, shape, tokens, hot):
        sizes = [int(n) for n in shape.split("x")]
        # rwkv: heads x width; mamba2: heads x V x K; others heads x K x V.
        self.heads = sizes[0]
        self.K, self.V = (sizes[1], sizes[1]) if len(sizes) == 2 else \
            (sizes[2], sizes[1]) if op == "mamba2" else (sizes[1], sizes[2])
        super().__init__(tokens, hot, 4 * self.heads * self.K * self.V)
        self.decay, self.write, self.before = RULES[op]
        H, K, V, T = self.heads, self.K, self.V, tokens
        unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
        self.S = self.draw(H, K, V)
        self.q, self.k, self.v = self.draw(T, H, K), unit(self.draw(T, H, K)), self.draw(T, H, V)
        if op == "mamba2":   # all heads share them
            self.q[:], self.k[:] = self.q[:, :1], self.k[:, :1]
        self.alpha = {None: None, "head": self.draw(T, H, 1, low=0.9), "key": self.draw(T, H, K, low=0.9)}[self.decay]
        self.beta = self.draw(T, H, 1, low=0.1)
        self.a = unit(self.draw(T, H, K))
        self.b = -0.5 * self.a
        self.expected = self._by_definition(min(T, CHECKED))

    def _by_definition(self, T):
        S, out = self.S.astype(float), np.empty((T, self.heads, self.V))
        outer = lambda x, y: x[:, :, None] * y[:, None, :]
        recall = lambda x: np.einsum("hk,hkv->hv", x.astype(float), S)
        for t in range(T):
            q, k, v = self.q[t], self.k[t], self.v[t].astype(float)
            if self.before:
                out[t] = recall(q)
            e = recall(self.a[t]) if self.write == "rank one" else None
            if self.decay:
                S *= self.alpha[t][:, :, None]
            if self.write == "delta":
                v = self.beta[t] * (v - recall(k))
            S += outer(k, v)
            if e is not None:
                S += outer(self.b[t], e)
            if not self.before:
                out[t] = recall(q)
        return out


class SelectiveScan(Problem):
    """h <- exp(dt A) h + dt u B;  y = h C + D u;  dt = softplus(delta)."""

    def __init__(self, op, shape, tokens, hot):
        self.E, self.N = (int(n) for n in shape.split("x"))
        super().__init__(tokens, hot, 8 * self.E * self.N)
        E, N, T = self.E, self.N, tokens
        self.h, self.A = self.draw(E, N), self.draw(E, N, low=-4, high=-0.1)
        self.u, self.delta, self.D = self.draw(T, E), self.draw(T, E, low=-5, high=0), self.draw(E)
        self.B, self.C = self.draw(T, N), self.draw(T, N)
        h, out = self.h.astype(float), np.empty((min(T, CHECKED), E))
        for t in range(len(out)):
            dt = np.log1p(np.exp(self.delta[t].astype(float)))
            h = np.exp(dt[:, None] * self.A) * h + (dt * self.u[t])[:, None] * self.B[t]
            out[t] = h @ self.C[t] + self.D * self.u[t]
        self.expected = out


class CausalConv(Problem):
    """y_t = sum_j w_j x_(t - K + 1 + j), channel by channel."""

    def __init__(self, op, shape, tokens, hot):
        self.channels, self.taps = (int(n) for n in shape.split("x"))
        super().__init__(tokens, hot, 4 * self.channels * (2 * self.taps - 1))
        C, K, T = self.channels, self.taps, tokens
        self.past, self.w, self.x = self.draw(K - 1, C), self.draw(K, C), self.draw(T, C)
        rows = np.concatenate([self.past, self.x]).astype(float)
        self.expected = np.stack([(self.w * rows[t:t + K]).sum(0) for t in range(min(T, CHECKED))])


class Attention(Problem):
    """Every query head over the keys and values of its group; token i of a prefill sees n + i entries."""

    def __init__(self, op, shape, tokens, hot):
        sizes, n, self.store = shape.split(",")
        heads, d = sizes.split("x")
        self.heads, self.lists = (int(x) for x in heads.split(":"))
        self.d, self.seen = int(d), int(n[2:])   # by the first token
        self.n = self.seen + tokens - 1
        super().__init__(tokens, hot, 8 * self.n * self.lists * self.d)
        if self.store != "f32":
            self.tolerance = 3e-2
        self.q = self.draw(tokens, self.heads, self.d)
        self.k, self.v = self.draw(self.n, self.lists, self.d), self.draw(self.n, self.lists, self.d)
        if tokens > 1:
            self.states = 1
        group, out = self.heads // self.lists, np.empty((min(tokens, CHECKED), self.heads, self.d))
        k, v = self.k.astype(float), self.v.astype(float)
        for t in range(len(out)):
            for h in range(self.heads):
                seen, kv = self.seen + t, h // group
                s = k[:seen, kv] @ self.q[t, h] / math.sqrt(self.d)
                p = np.exp(s - s.max())
                out[t, h] = p @ v[:seen, kv] / p.sum()
        self.expected = out


class MatMul(Problem):
    """y = x W^T, W [N, K]"""

    def __init__(self, op, shape, tokens, hot):
        sizes, self.store, *layout = shape.split(",")
        self.interleaved, self.fast = "interleaved" in layout, "fast" in layout
        self.K, self.N = (int(n) for n in sizes.split("x"))
        super().__init__(tokens, hot, {"f32": 4, "bf16": 2, "q8_0": 1, "q4_1": 0.6}[self.store] * self.N * self.K)
        self.x, self.w = self.draw(tokens, self.K), self.draw(self.N, self.K)
        if self.store != "f32":
            self.tolerance = 3e-2
        self.expected = self.x[:CHECKED].astype(float) @ self.w.T.astype(float)


class ProductKey(Problem):
    """The best sums of a key of the first and one of the second set: scores, best first."""
    top, sub_keys, d = 32, 1024, 128

    def __init__(self, op, shape, tokens, hot):
        super().__init__(tokens, hot, 8 * self.sub_keys * self.d)
        self.keys, self.q = self.draw(2, self.sub_keys, self.d), self.draw(1024, 2, self.d)
        s = np.einsum("rhd,hnd->rhn", self.q[:min(tokens, 3)].astype(float), self.keys.astype(float))
        sums = (s[:, 0, :, None] + s[:, 1, None, :]).reshape(len(s), -1)
        self.expected = -np.sort(-sums, axis=-1)[:, :self.top]


class Cell(Problem):
    """The recurrence of LSTM (gates i, f, g, o) or GRU (r, z, n) with an input of one channel."""

    def __init__(self, op, shape, tokens, hot):
        self.lstm, self.H = op == "lstm", int(shape)
        gates, H = 4 if self.lstm else 3, self.H
        super().__init__(tokens, hot, 4 * gates * H * H)
        most = 1 / math.sqrt(H)
        self.W, self.U = self.draw(gates * H, 1), self.draw(gates * H, H, low=-most, high=most)
        self.b = self.draw(gates * H, low=-most, high=most)   # of the state's product
        self.x, self.h, self.c = self.draw(tokens, 1), self.draw(H), self.draw(H)
        sigmoid = lambda x: 1 / (1 + np.exp(-x))
        h, c, out = self.h.astype(float), self.c.astype(float), np.empty((min(tokens, CHECKED), H))
        for t in range(len(out)):
            x, z = (self.W @ self.x[t]).reshape(gates, H), (self.U @ h + self.b).reshape(gates, H)
            if self.lstm:
                i, f, g, o = x + z
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            else:
                r, u = sigmoid(x[0] + z[0]), sigmoid(x[1] + z[1])
                h = (1 - u) * np.tanh(x[2] + r * z[2]) + u * h
            out[t] = h
        self.expected = out


KINDS = {**{op: Recurrence for op in RULES}, "selective_scan": SelectiveScan, "causal_conv": CausalConv,
         "attention": Attention, "matmul": MatMul, "product_key_address": ProductKey, "lstm": Cell, "gru": Cell}


def known(case):
    """States of 16 bits are ours alone."""
    op, shape = case.split("/")[:2]
    return op in KINDS and not shape.endswith(",bf16_state")


def of(case):
    """case: <op>/<shape>/<mode>; decode is one token."""
    op, shape, what, how = case.split("/")[:4]
    problem = KINDS[op](op, shape, 1 if what == "decode" else int(how), how == "hot" or what == "prefill")
    problem.op = op
    return problem
