# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU, by graphs made here: its ops of domain com.microsoft, LSTM, GRU and MatMul.

A call costs some microseconds beside its op, so that one of a single token runs a graph of many: hot, where each
goes on from the state of the one before, cold, where each has a state (or weights) of its own. States go from one
buffer to another, as the ops have it; caches of keys and values stay in place.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

VERSION = f"onnxruntime {ort.__version__}"
CHAIN = 32
threads = 1


def use_threads(n):
    global threads
    threads = n


class Graph:
    """Nodes, constants and bound inputs and outputs; a call of it runs them all."""

    def __init__(self):
        self.nodes, self.constants, self.bound, self.outputs, self.shared = [], [], {}, [], {}

    def constant(self, name, value, copy=0):
        """Each copy other values, so that none can be shared; the first is the one whose answers are checked."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(np.roll(value, copy, -1)), f"{name}{copy}"))

    def weights(self, p, i, **values):
        """Names of what node i reads: cold cases have copies of their own."""
        copy = i if p.states > 1 else 0
        if copy == i:
            for name, value in values.items():
                self.constant(name, value, copy)
        return [f"{name}{copy}" for name in values]

    def input(self, name, value):
        self.bound[name] = np.ascontiguousarray(value)
        return name

    def node(self, op, inputs, outputs, domain="com.microsoft", **attributes):
        self.nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))

    def output(self, name, dtype=np.float32, shares=None):
        """shares: the input in whose buffer it goes."""
        self.outputs.append((name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))
        if shares:
            self.shared[name] = shares

    def built(self, calls=1, answer=lambda y: y):
        typed = lambda name, x: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        graph = helper.make_graph(self.nodes, "peer", [typed(*item) for item in self.bound.items()],
                                  [helper.make_tensor_value_info(name, kind, None) for name, kind in self.outputs],
                                  self.constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        binding, values = session.io_binding(), {}
        for name, value in self.bound.items():
            values[name] = ort.OrtValue.ortvalue_from_numpy(value)
            binding.bind_ortvalue_input(name, values[name])
        # A first run says how large the others are; later ones write there.
        for name, _ in self.outputs:
            if name in self.shared:
                binding.bind_ortvalue_output(name, values[self.shared[name]])
            else:
                binding.bind_output(name)
        session.run_with_iobinding(binding)
        made = binding.get_outputs()
        binding.clear_binding_outputs()
        for (name, _), value in zip(self.outputs, made):
            binding.bind_ortvalue_output(name, value)

        def run(_):
            session.run_with_iobinding(binding)
            return answer(made[0].numpy())
        run.calls = calls
        return run


def contenders(p):
    make = {"Recurrence": recurrence, "CausalConv": causal_conv, "Attention": attention, "MatMul": matmul, "Cell": cell}
    return make.get(type(p).__name__, lambda _: {})(p)


def chain(p, graph, state, add, answer=lambda y: y):
    """A node per token, or one for a prefill; add(i, state, output, new state) makes it."""
    nodes = 1 if p.tokens > 1 else CHAIN
    before = None
    for i in range(nodes):
        if before is None or p.states > 1:
            before = graph.input(f"state{i}", state)
        add(i, before, f"y{i}", f"new{i}")
        if i == 0:
            graph.output("y0")
        if p.states > 1 or i == nodes - 1:
            graph.output(f"new{i}")
        before = f"new{i}"
    return {"onnxruntime": graph.built(nodes, answer)}


def recurrence(p):
    rule = {"linear_attention": "linear", "gla": "gated", "mamba2": "gated", "gated_delta": "gated_delta"}.get(p.op)
    if not rule:
        return {}
    g, flat = Graph(), lambda x: x.reshape(1, p.tokens, -1)
    rows = [g.input("q", flat(p.q)), g.input("k", flat(p.k)), g.input("v", flat(p.v))]
    gates = [g.input("decay", flat(np.log(p.alpha)))] if p.decay else []
    if p.write == "delta":
        gates.append(g.input("beta", flat(p.beta)))
    return chain(p, g, p.S[None], lambda i, state, y, new: g.node(
        "LinearAttention", [*rows, state, *gates], [y, new], q_num_heads=p.heads, kv_num_heads=p.heads, scale=1.0,
        update_rule=rule))


def causal_conv(p):
    # Channel by channel, which it prefers.
    g, taps, rows = Graph(), p.w.T[:, None], lambda x: x.T[None]
    x = g.input("x", rows(p.x))

    def add(i, state, y, new):
        g.node("CausalConvWithState", [x, g.weights(p, i, w=taps)[0], "", state], [y, new], ndim=1, activation="none")
    return chain(p, g, rows(p.past), add, answer=lambda y: y.swapaxes(1, 2))


def attention(p):
    kinds = {"f32": np.float32, "f16": np.float16}
    if p.store not in kinds:
        return {}
    kind, g, past = kinds[p.store], Graph(), p.n - p.tokens
    flat = lambda name, x: g.input(name, x.reshape(1, p.tokens, -1).astype(kind))
    cache = lambda name, x: g.input(name, x.swapaxes(0, 1)[None].astype(kind))
    inputs = [flat("q", p.q), flat("k", p.k[past:]), flat("v", p.v[past:]), cache("keys", p.k), cache("values", p.v),
              g.input("last", np.array([p.n - 1], np.int32)), g.input("all", np.array(p.n, np.int32))]
    g.node("GroupQueryAttention", inputs, ["y", "new_keys", "new_values"], num_heads=p.heads, kv_num_heads=p.lists)
    g.output("y", kind)
    g.output("new_keys", kind, shares="keys")
    g.output("new_values", kind, shares="values")
    return {"onnxruntime": g.built()}


def matmul(p):
    nodes = 1 if p.tokens > 1 else p.states if p.states > 1 else CHAIN
    bits = {"q8_0": 8, "q4_1": 4}.get(p.store)
    if bits is None and p.store != "f32" or not p.interleaved:   # ours in the layout that layers have
        return {}
    # Level 4 rounds the activations to 8 bits: that stands against what may round them too.
    level = 4 if p.fast else 0
    if bits:
        blocks, scales, zeros, p.w = rounded(p, bits)
        p.expected = p.x[:len(p.expected)].astype(float) @ p.w.T.astype(float)
    g = Graph()
    for i in range(nodes):
        x = g.input(f"x{i}", p.x)
        if bits:
            g.node("MatMulNBits", [x, *g.weights(p, i, w=blocks, scales=scales, zeros=zeros)], [f"y{i}"], K=p.K, N=p.N,
                   bits=bits, block_size=32, accuracy_level=level)
        else:
            g.node("MatMul", [x, *g.weights(p, i, w=p.w.T)], [f"y{i}"], domain="")
        g.output(f"y{i}")
    return {"onnxruntime": g.built(nodes)}


def rounded(p, bits):
    """Blocks of 32 as MatMulNBits has them, and the weights that they stand for."""
    top = 2**bits - 1
    w = p.w.reshape(p.N, -1, 32)
    low, high = np.minimum(w.min(-1), 0), np.maximum(w.max(-1), 0)
    scale = ((high - low) / top).astype(np.float32)
    zero = np.round(-low / scale).clip(0, top).astype(np.uint8)
    q = (np.round(w / scale[..., None]) + zero[..., None]).clip(0, top).astype(np.uint8)
    meant = ((q.astype(np.float32) - zero[..., None]) * scale[..., None]).reshape(p.N, p.K)
    if bits == 4:
        q = q[..., 0::2] | q[..., 1::2] << 4
        zero = np.pad(zero, [(0, 0), (0, zero.shape[1] % 2)])
        zero = zero[:, 0::2] | zero[:, 1::2] << 4
    return q, scale, zero, meant


def cell(p):
    # Their order of gates: i o f g, and z r n.
    H, order = p.H, [0, 3, 1, 2] if p.lstm else [1, 0, 2]
    gates = lambda x: np.concatenate([x[i * H:(i + 1) * H] for i in order])
    g = Graph()
    x = g.input("x", p.x[:, None])
    c = g.input("c", p.c[None, None]) if p.lstm else None
    weights = {"W": gates(p.W)[None], "U": gates(p.U)[None], "b": np.concatenate([0 * p.b, gates(p.b)])[None]}

    def add(i, state, y, new):
        nonlocal c
        inputs = [x, *g.weights(p, i, **weights), "", state]
        if p.lstm:
            g.node("LSTM", [*inputs, c], [y, new, f"c{i}"], domain="", hidden_size=H)
            c = f"c{i}"
        else:
            g.node("GRU", inputs, [y, new], domain="", hidden_size=H, linear_before_reset=1)
    return chain(p, g, p.h[None, None], add)
