# SPDX-License-Identifier: Apache-2.0
"""Golden values of delta rules and of the RWKV time mixings; run by make_golden.py."""
import types

import numpy as np
import torch
import torch.nn.functional as F

import reference
from golden_case import Golden, agree, doubles, f32_unit_rows, sigmoid, silu, softplus, wide
from ops_first import FLA, MATRIX_CASES

RWKV_COMMIT = "524481d5099b38d9bc8ef1e89209161b86c8011b"
RWKV = (f"RWKV-LM-{RWKV_COMMIT[:12]}.tar.gz", "BlinkDL/RWKV-LM", RWKV_COMMIT)


# -- matrix-valued states ---------------------------------------------------------------------------------------


def numpy_recurrence(q, k, v, S, decay=None, beta=None, a=None, b=None, u=None):
    """Outputs and last state of one head after the other; decay [T, H, K] multiplies, q is scaled."""
    S, out = S.astype(np.float64), []
    for t in range(len(q)):
        write = v[t]
        recalled = None if a is None else np.einsum("hkv,hk->hv", S, a[t])
        before = S
        S = S if decay is None else decay[t][:, :, None] * S
        if beta is not None:
            write = beta[t][:, None] * (write - np.einsum("hkv,hk->hv", S, k[t]))
        S = S + k[t][:, :, None] * write[:, None, :]
        if a is not None:
            S = S + b[t][:, :, None] * recalled[:, None, :]
        read = S if u is None else before + (u * k[t])[:, :, None] * v[t][:, None, :]
        out.append(np.einsum("hkv,hk->hv", read, q[t]))
    return np.stack(out), S


def heads_first(*arrays):
    return [x.transpose(1, 2) for x in wide(*arrays)]


def start(g, warm, H, K, V):
    return g.normal(H, K, V) if warm else np.zeros((H, K, V), np.float32)


def checked(g, name, x, s0, scale, o, s1, **settings):
    """Adds a case after the second computation has agreed."""
    wide_x = doubles(**x)
    ours = dict(wide_x, q=wide_x["q"] * scale)
    if "gk" in ours:
        ours["decay"] = np.exp(ours.pop("gk"))
    repeat = x["v"].shape[1] // x["k"].shape[1]
    ours["q"], ours["k"] = (np.repeat(ours[n], repeat, axis=1) for n in "qk")
    y, S = numpy_recurrence(S=s0, **ours)
    agree(y, o)
    agree(S, s1)
    g.add(name, settings, s0=s0, scale=np.array([scale]), o=o, s1=s1, **x)


def delta_rule():
    run, = reference.functions(FLA[0], "fla/ops/delta_rule/naive.py", "delta_rule_recurrence")
    g = Golden("delta_rule", 151, "delta_rule_recurrence", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES:
        x = {"q": f32_unit_rows(g.normal(T, H, K)), "k": f32_unit_rows(g.normal(T, H, K)), "v": g.normal(T, H, V),
             "beta": g.pick([0, 1e-4, 0.5, 1, 2], T, H) if name == "long" else g.uniform(0.05, 1.95, T, H)}
        s0 = start(g, warm, H, K, V)
        o, s1 = run(*heads_first(*x.values()), initial_state=wide(s0))
        checked(g, name, x, s0, K**-0.5, o[0].transpose(0, 1), s1[0])
    return g


def kda():
    run, = reference.functions(FLA[0], "fla/ops/kda/naive.py", "naive_recurrent_kda")
    g = Golden("kda", 152, "naive_recurrent_kda", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES + [("grouped", 11, 6, 3, 5, True)]:
        key_heads = 2 if name == "grouped" else H
        x = {"q": f32_unit_rows(g.normal(T, key_heads, K)), "k": f32_unit_rows(g.normal(T, key_heads, K)),
             "v": g.normal(T, H, V),
             "gk": -softplus(g.normal(T, H, K, mean=-1.5).astype(np.float64)).astype(np.float32),
             "beta": g.uniform(0.05, 0.95, T, H)}
        if name == "long":
            x["gk"] = g.pick([0, -1e-6, -1e-3, -0.05, -1, -20, -80], T, H, K)
            x["beta"] = g.pick([0, 1e-4, 0.5, 0.9999, 1], T, H)
        s0 = start(g, warm, H, K, V)
        o, s1 = run(*wide(*x.values()), initial_state=wide(s0), output_final_state=True)
        checked(g, name, x, s0, K**-0.5, o[0], s1[0])
    return g


def rwkv6():
    run, = reference.functions(FLA[0], "fla/ops/rwkv6/recurrent_naive.py", "naive_recurrent_rwkv6")
    g = Golden("rwkv6", 153, "naive_recurrent_rwkv6, scale 1", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES:
        x = {"q": g.normal(T, H, K), "k": g.normal(T, H, K), "v": g.normal(T, H, V),
             "gk": -np.exp(g.normal(T, H, K, mean=-1.5))}
        if name == "long":
            x["gk"] = g.pick([0, -1e-6, -1e-3, -0.05, -1, -20, -80], T, H, K)
        u, s0 = g.normal(H, K), start(g, warm, H, K, V)
        o, s1 = run(*heads_first(*x.values()), torch.from_numpy(u.astype(np.float64)), scale=1.0,
                    initial_state=wide(s0), output_final_state=True)
        checked(g, name, x | {"u": u}, s0, 1.0, o[0].transpose(0, 1), s1[0])
    return g


def dplr():
    run, = reference.functions(FLA[0], "fla/ops/generalized_delta_rule/dplr/naive.py", "dplr_recurrence")
    g = Golden("dplr", 154, "dplr_recurrence", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES:
        erased, rate = f32_unit_rows(g.normal(T, H, K)), g.uniform(0, 1, T, H, K)
        x = {"q": g.normal(T, H, K), "k": g.normal(T, H, K), "v": g.normal(T, H, V), "a": -erased,
             "b": erased * rate, "gk": -g.uniform(0.001, 0.6065, T, H, K)}
        s0 = start(g, warm, H, K, V)
        o, s1 = run(*heads_first(*x.values()), initial_state=wide(s0))
        checked(g, name, x, s0, K**-0.5, o[0].transpose(0, 1), s1[0])
    return g


# -- RWKV time mixings ------------------------------------------------------------------------------------------

# name, T, heads, head size
LAYER_CASES = [("odd", 13, 3, 5), ("one", 1, 2, 3), ("long", 80, 1, 7), ("pow2", 64, 2, 16)]


def blend(x, last, mu):
    before = np.concatenate([last[None], x[:-1]])
    return x + (before - x) * mu


def group_norm(o, w):
    normal = (o - o.mean(-1, keepdims=True)) / np.sqrt(o.var(-1, keepdims=True) + 64e-5)
    return normal.reshape(len(o), -1) * w["ln_x.weight"] + w["ln_x.bias"]


def square(g, D, *names):
    return {f"{name}.weight": g.normal(D, D, sd=D**-0.5) for name in names}


def numpy_rwkv6(x, w, H):
    T, D = x.shape
    zero = np.zeros(D)
    m = np.tanh(blend(x, zero, w["time_maa_x"][0, 0]) @ w["time_maa_w1"]).reshape(T, 5, -1)
    part = {n: blend(x, zero, w[f"time_maa_{n}"][0, 0] + m[:, i] @ w["time_maa_w2"][i]) for i, n in enumerate("wkvrg")}
    heads = lambda a: a.reshape(T, H, -1)
    r, k, v = (heads(part[i] @ w[f"{n}.weight"].T) for i, n in (("r", "receptance"), ("k", "key"), ("v", "value")))
    decay = w["time_decay"][0, 0] + np.tanh(part["w"] @ w["time_decay_w1"]) @ w["time_decay_w2"]
    o, S = numpy_recurrence(r, k, v, np.zeros((H, D // H, D // H)), decay=heads(np.exp(-np.exp(decay))),
                            u=w["time_faaaa"])
    return (group_norm(o, w) * silu(part["g"] @ w["gate.weight"].T)) @ w["output.weight"].T, S


def rwkv6_layer():
    core, = reference.functions(FLA[0], "fla/ops/rwkv6/recurrent_naive.py", "naive_recurrent_rwkv6")
    last_state = []

    def run(r, k, v, w, u):  # stands for the GPU kernel, which exponentiates twice
        T, H = r.shape[1], u.shape[0]
        heads = lambda a: a.reshape(1, T, H, -1).transpose(1, 2)
        o, S = core(heads(r), heads(k), heads(v), heads(-torch.exp(w)), u, scale=1.0, output_final_state=True)
        last_state[:] = [S[0]]
        return o.transpose(1, 2).reshape(1, T, -1)

    layer, = reference.functions(RWKV[0], "RWKV-v5/src/model.py", "RWKV_Tmix_x060", given={
        "nn": torch.nn, "F": F, "MyModule": torch.nn.Module, "MyFunction": lambda f: f, "RUN_CUDA_RWKV6": run})
    g = Golden("rwkv6_layer", 155, "RWKV_Tmix_x060.forward from a zero state, its GPU kernel replaced by "
               "naive_recurrent_rwkv6 of fla-core 0.6.0", *RWKV[1:])
    for name, T, H, N in LAYER_CASES:
        D = H * N
        w = {f"time_maa_{n}": g.uniform(0, 1, 1, 1, D) for n in "xwkvrg"}
        w |= {"time_maa_w1": g.normal(D, 160, sd=D**-0.5), "time_maa_w2": g.normal(5, 32, D, sd=0.2),
              "time_decay": g.normal(1, 1, D, mean=-1, sd=2 if name == "long" else 1),
              "time_decay_w1": g.normal(D, 64, sd=D**-0.5), "time_decay_w2": g.normal(64, D, sd=0.2),
              "time_faaaa": g.normal(H, N)}
        w |= square(g, D, "receptance", "key", "value", "gate", "output")
        w |= {"ln_x.weight": g.uniform(0.5, 1.5, D), "ln_x.bias": g.normal(D, sd=0.3)}
        x = g.normal(T, D)
        args = types.SimpleNamespace(head_size_a=N, dim_att=D, n_embd=D, n_layer=2, head_size_divisor=8)
        mixing = layer(args, 0).double()
        mixing.load_state_dict({n: torch.from_numpy(v) for n, v in doubles(**w).items()}, strict=True)
        y = mixing(wide(x))[0]
        for ours, theirs in zip(numpy_rwkv6(x.astype(np.float64), doubles(**w), H), (y, last_state[0])):
            agree(ours, theirs)
        g.add(name, {"heads": H, "mix_rank": 32, "decay_rank": 64}, x=x, y=y, s1=last_state[0], **w)
    return g


def numpy_rwkv7(x, w, H, first):
    """Outputs, values before the blend with those of the first layer, last state."""
    T, D = x.shape
    zero = np.zeros(D)
    part = {n: blend(x, zero, w[f"x_{n}"][0, 0]) for n in "rwkvag"}
    heads = lambda a: a.reshape(T, H, -1)
    r, k, v = (part[i] @ w[f"{n}.weight"].T for i, n in (("r", "receptance"), ("k", "key"), ("v", "value")))
    own = v
    if first is not None:
        v = v + (first - v) * sigmoid(w["v0"][0, 0] + part["v"] @ w["v1"] @ w["v2"])
    decay = np.exp(-np.exp(-0.5) * sigmoid(w["w0"][0, 0] + np.tanh(part["w"] @ w["w1"]) @ w["w2"]))
    rate = sigmoid(w["a0"][0, 0] + part["a"] @ w["a1"] @ w["a2"])
    erased = heads(k * w["k_k"][0, 0])
    erased = erased / np.linalg.norm(erased, axis=-1, keepdims=True)
    k = k * (1 + (rate - 1) * w["k_a"][0, 0])
    r, k, v, decay, rate = map(heads, (r, k, v, decay, rate))
    o, S = numpy_recurrence(r, k, v, np.zeros((H, D // H, D // H)), decay=decay, a=-erased, b=rate * erased)
    bonus = (r * k * w["r_k"]).sum(-1, keepdims=True) * v
    gated = (group_norm(o, w) + bonus.reshape(T, D)) * (sigmoid(part["g"] @ w["g1"]) @ w["g2"])
    return gated @ w["output.weight"].T, own, S


# In the order in which the reference takes them; v2, v1, v0 only in later layers.
RWKV7_ORDER = ["x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "r_k", "w1", "w2", "a1", "a2", "a0", "g1", "g2",
               "v2", "v1", "v0", "k_k", "k_a", "receptance.weight", "key.weight", "value.weight", "output.weight",
               "ln_x.weight", "ln_x.bias"]


def rwkv7_layer():
    mixing, _, _ = reference.functions(
        RWKV[0], "RWKV-v7/rwkv_v7_numpy.py", "time_mixing", "group_norm", "sigmoid", given={"np": np})
    g = Golden("rwkv7_layer", 156, "time_mixing of rwkv_v7_numpy.py from a zero state", *RWKV[1:])
    for name, T, H, N in LAYER_CASES:
        D, first = H * N, None
        for layer in range(2):
            ranks = {"w": 4, "a": 3, "v": 2, "g": 6}
            w = {f"x_{n}": g.uniform(0, 1, 1, 1, D) for n in "rwkvag"}
            for n in "wavg" if layer else "wag":
                if n != "g":
                    w[f"{n}0"] = g.normal(1, 1, D, sd=6 if name == "long" else 1)
                w |= {f"{n}1": g.normal(D, ranks[n], sd=D**-0.5), f"{n}2": g.normal(ranks[n], D, sd=0.5)}
            w |= {"k_k": g.uniform(0.5, 1, 1, 1, D), "k_a": g.uniform(0.5, 1.2, 1, 1, D), "r_k": g.normal(H, N, sd=0.3)}
            w |= square(g, D, "receptance", "key", "value", "output")
            w |= {"ln_x.weight": g.uniform(0.5, 1.5, D), "ln_x.bias": g.normal(D, sd=0.3)}
            x, wd = g.normal(T, D), doubles(**w)
            params = [np.squeeze(wd[n]) for n in RWKV7_ORDER if n in wd]
            mixing.__globals__.update(N_HEAD=H, HEAD_SIZE=N)
            last, S, rows, values = np.zeros(D), np.zeros((H, N, N)), [], []
            for t, token in enumerate(x.astype(np.float64)):
                y, v, last, S = mixing(token, None if first is None else first[t], last, S, params)
                rows.append(y)
                values.append(np.array(v).ravel())
            S = S.transpose(0, 2, 1)  # the reference keeps values as rows
            y, own, state = numpy_rwkv7(x.astype(np.float64), wd, H, first)
            agree(y, np.stack(rows))
            agree(state, S)
            if first is None:
                agree(own, np.stack(values))
            case = f"{name}_{'later' if layer else 'first'}"
            g.add(case, {"heads": H, "decay_rank": 4, "rate_rank": 3, "value_rank": 2, "gate_rank": 6}, x=x,
                  v_first=first if layer else np.stack(values), y=np.stack(rows), s1=S, **w)
            first = np.stack(values)
    return g


OPS = [delta_rule, kda, rwkv6, dplr, rwkv6_layer, rwkv7_layer]
