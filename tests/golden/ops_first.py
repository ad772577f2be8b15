# SPDX-License-Identifier: Apache-2.0
"""Golden values of the first ops of every family; run by make_golden.py."""
import importlib.metadata
import math

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from transformers import DynamicCache, MambaConfig
from transformers import logging as transformers_logging
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as rotate_interleaved
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as rotate_half_split
from transformers.models.mamba.modeling_mamba import MambaMixer

import reference
from golden_case import Golden, agree, doubles, f32_unit_rows, sigmoid, silu, softplus, wide

transformers_logging.set_verbosity_error()  # it warns that no GPU kernels are installed

FLA = ("fla_core-0.6.0-*.whl", "fla-core", "0.6.0")
MAMBA = ("mamba_ssm-2.3.2.post1.tar.gz", "mamba-ssm", "2.3.2.post1")
CONV = ("causal_conv1d-1.7.0.tar.gz", "causal-conv1d", "1.7.0")
PKM = ("product_key_memory-0.3.0-*.whl", "product-key-memory", "0.3.0")
TRANSFORMERS_VERSION, TORCH_VERSION, GGUF_VERSION = map(importlib.metadata.version, ("transformers", "torch", "gguf"))


# -- matrix-valued states ---------------------------------------------------------------------------------------

# name, T, H, K, V, whether the start state is non-zero
MATRIX_CASES = [("odd", 13, 3, 5, 7, True), ("one", 1, 2, 5, 3, True), ("long", 96, 2, 6, 5, True),
                ("pow2", 64, 2, 16, 16, False)]


def linear_attention():
    run, = reference.functions(FLA[0], "fla/ops/linear_attn/naive.py", "naive_recurrent_linear_attn")
    g = Golden("linear_attention", 101, "naive_recurrent_linear_attn", *FLA[1:])
    for norm in (False, True):
        for name, T, H, K, V, warm in MATRIX_CASES:
            q, k, v = g.normal(T, H, K), g.normal(T, H, K), g.normal(T, H, V)
            if norm:  # features are positive there
                q, k = np.exp(q), np.exp(k)
            if name == "long":  # tokens of very different weight
                k *= g.pick([1e-3, 0.1, 1, 8], T, H, 1)
            s0 = g.normal(H, K, V) if warm else np.zeros((H, K, V), np.float32)
            z0 = None if not norm else np.exp(g.normal(H, K)) if warm else np.zeros((H, K), np.float32)
            scale = 0.75 if name == "odd" else K**-0.5
            start = (wide(s0), wide(z0)[:, None]) if norm else wide(s0)
            o, state = run(*wide(q, k, v), scale=scale, initial_state=start, output_final_state=True, normalize=norm)
            o, s1, z1 = o[0], (state[0] if norm else state)[0], state[1][0, 0] if norm else None

            x, S, out = doubles(q=q, k=k, v=v), s0.astype(np.float64), []
            z = None if z0 is None else z0.astype(np.float64)
            for t in range(T):
                S = S + x["k"][t][:, :, None] * x["v"][t][:, None, :]
                y = np.einsum("hkv,hk->hv", S, x["q"][t] * scale)
                if norm:
                    z = z + x["k"][t]
                    y = y / ((x["q"][t] * z).sum(-1, keepdims=True) * scale + 1e-10)
                out.append(y)
            agree(np.stack(out), o)
            agree(S, s1)
            if norm:
                agree(z, z1)
            g.add(("norm_" if norm else "") + name, {"normalize": int(norm)}, q=q, k=k, v=v, s0=s0, z0=z0,
                  scale=np.array([scale]), o=o, s1=s1, z1=z1)
    return g


def gla():
    run, = reference.functions(FLA[0], "fla/ops/gla/naive.py", "naive_recurrent_gla")
    g = Golden("gla", 102, "naive_recurrent_gla", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES:
        q, k, v = g.normal(T, H, K), g.normal(T, H, K), g.normal(T, H, V)
        gk = np.log(sigmoid(g.normal(T, H, K, mean=1.5).astype(np.float64))).astype(np.float32)
        if name == "long":
            gk = g.pick([0, -1e-6, -1e-3, -0.05, -1, -20, -80], T, H, K)
        s0 = g.normal(H, K, V) if warm else np.zeros((H, K, V), np.float32)
        o, s1 = run(*wide(q, k, v, gk), initial_state=wide(s0), output_final_state=True)

        x, S, out = doubles(q=q, k=k, v=v, gk=gk), s0.astype(np.float64), []
        for t in range(T):
            S = np.exp(x["gk"][t])[:, :, None] * S + x["k"][t][:, :, None] * x["v"][t][:, None, :]
            out.append(np.einsum("hkv,hk->hv", S, x["q"][t]) * K**-0.5)
        agree(np.stack(out), o[0])
        agree(S, s1[0])
        g.add(name, q=q, k=k, v=v, gk=gk, s0=s0, scale=np.array([K**-0.5]), o=o[0], s1=s1[0])
    return g


def gated_delta_rule():
    run, = reference.functions(FLA[0], "fla/ops/gated_delta_rule/naive.py", "naive_recurrent_gated_delta_rule")
    g = Golden("gated_delta_rule", 103, "naive_recurrent_gated_delta_rule", *FLA[1:])
    for name, T, H, K, V, warm in MATRIX_CASES:
        q, k, v = f32_unit_rows(g.normal(T, H, K)), f32_unit_rows(g.normal(T, H, K)), g.normal(T, H, V)
        beta = g.uniform(0.05, 0.95, T, H)
        decay = -softplus(g.normal(T, H, mean=-1.5).astype(np.float64)).astype(np.float32)
        if name == "long":
            beta = g.pick([0, 1e-4, 0.5, 0.9999, 1], T, H)
            decay = g.pick([0, -1e-6, -1e-3, -0.05, -1, -20, -80], T, H)
        s0 = g.normal(H, K, V) if warm else np.zeros((H, K, V), np.float32)
        o, s1 = run(*wide(q, k, v, beta, decay), initial_state=wide(s0), output_final_state=True)

        x, S, out = doubles(q=q, k=k, v=v, beta=beta, g=decay), s0.astype(np.float64), []
        for t in range(T):
            S = np.exp(x["g"][t])[:, None, None] * S
            u = x["beta"][t][:, None] * (x["v"][t] - np.einsum("hkv,hk->hv", S, x["k"][t]))
            S = S + x["k"][t][:, :, None] * u[:, None, :]
            out.append(np.einsum("hkv,hk->hv", S, x["q"][t]) * K**-0.5)
        agree(np.stack(out), o[0])
        agree(S, s1[0])
        g.add(name, q=q, k=k, v=v, beta=beta, g=decay, s0=s0, scale=np.array([K**-0.5]), o=o[0], s1=s1[0])
    return g


# -- state-space and recurrent layers ---------------------------------------------------------------------------


def numpy_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, h):
    group = np.arange(A.shape[0]) * B.shape[1] // A.shape[0]
    delta = delta if delta_bias is None else delta + delta_bias
    delta = softplus(delta) if delta_softplus else delta
    y = np.empty_like(u)
    for t in range(len(u)):
        h = np.exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t, group]
        y[t] = (h * C[t, group]).sum(-1)
    y = y if D is None else y + D * u
    return (y if z is None else y * silu(z)), h


def selective_scan():
    scan, = reference.functions(MAMBA[0], "mamba_ssm/ops/selective_scan_interface.py", "selective_scan_ref")
    step, = reference.functions(MAMBA[0], "mamba_ssm/ops/triton/selective_state_update.py", "selective_state_update_ref")
    g = Golden("selective_scan", 111, "selective_scan_ref; selective_state_update_ref where h0 is not zero", *MAMBA[1:])
    # name, T, E, N, G, non-zero h0, D, z, delta_bias, delta_softplus
    for name, T, E, N, G, warm, has_D, has_z, has_bias, plus in [
            ("odd", 13, 7, 5, 1, True, True, True, True, True),
            ("one", 1, 5, 3, 1, True, True, True, True, True),
            ("plain", 11, 3, 5, 1, True, False, False, False, False),
            ("groups_state", 9, 6, 3, 2, True, True, False, True, True),
            ("long", 96, 5, 6, 1, True, True, True, False, False),
            ("long_softplus", 80, 4, 5, 1, False, True, True, True, True),
            ("pow2", 64, 8, 16, 2, False, True, True, True, True)]:
        u, A = g.normal(T, E), -np.exp(g.normal(E, N))
        B, C = g.normal(T, G, N), g.normal(T, G, N)
        D = g.normal(E) if has_D else None
        z = g.normal(T, E) if has_z else None
        bias = g.normal(E, sd=0.5) if has_bias else None
        delta = g.normal(T, E, mean=-1) if plus else g.uniform(0.01, 1, T, E)
        if name == "long":  # decay near 1 and near 0
            delta = g.pick([0, 1e-6, 1e-3, 0.3, 30], T, E)
            u = np.where(delta > 1, 0.01 * u, u)
        if name == "long_softplus":  # around the threshold 20, and underflow of exp
            delta = g.pick([-60, -12, 0, 19, 20.5, 30], T, E)
            u = np.where(delta > 1, 0.01 * u, u)
        h0 = g.normal(E, N) if warm else np.zeros((E, N), np.float32)

        a = doubles(u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=bias)
        t_ = {n: None if x is None else torch.from_numpy(x) for n, x in a.items()}
        if warm:  # one head per channel of width 1, so that groups mean the same as in the scan
            h, ys = torch.from_numpy(h0.astype(np.float64)).reshape(1, E, 1, N).clone(), []
            col = lambda x: None if x is None else x[:, None]
            for t in range(T):
                ys.append(step(h, t_["u"][t][None, :, None], t_["delta"][t][None, :, None], t_["A"][:, None],
                               t_["B"][t][None], t_["C"][t][None], D=col(t_["D"]),
                               z=None if z is None else t_["z"][t][None, :, None],
                               dt_bias=col(t_["delta_bias"]), dt_softplus=plus)[0, :, 0])
            y, h1 = torch.stack(ys), h[0, :, 0]
        else:
            seq = lambda x: None if x is None else x.T[None]
            y, h1 = scan(seq(t_["u"]), seq(t_["delta"]), t_["A"], t_["B"].permute(1, 2, 0)[None],
                         t_["C"].permute(1, 2, 0)[None], D=t_["D"], z=seq(t_["z"]), delta_bias=t_["delta_bias"],
                         delta_softplus=plus, return_last_state=True)
            y, h1 = y[0].T, h1[0]
        ours_y, ours_h = numpy_scan(**a, delta_softplus=plus, h=h0.astype(np.float64))
        agree(ours_y, y)
        agree(ours_h, h1)
        g.add(name, {"D": int(has_D), "z": int(has_z), "delta_bias": int(has_bias), "delta_softplus": int(plus),
                     "groups": G, "reference": "selective_state_update_ref" if warm else "selective_scan_ref"},
              u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=bias, h0=h0, y=y, h1=h1)
    return g


def numpy_conv(x, weight, bias, state, activate):
    full, K = np.concatenate([state, x]), weight.shape[1]
    y = np.stack([sum(weight[:, j] * full[t + j] for j in range(K)) for t in range(len(x))])
    y = y if bias is None else y + bias
    return (silu(y) if activate else y), full[len(full) - (K - 1):]


def causal_conv1d():
    block, update = reference.functions(CONV[0], "causal_conv1d/causal_conv1d_interface.py", "causal_conv1d_ref",
                                        "causal_conv1d_update_ref")
    g = Golden("causal_conv1d", 112, "causal_conv1d_ref, compared with causal_conv1d_update_ref", *CONV[1:])
    # name, T, C, K, non-zero state, bias, silu
    for name, T, C, K, warm, has_bias, act in [
            ("odd", 13, 5, 4, True, True, True), ("odd3", 13, 7, 3, True, True, False),
            ("one", 1, 5, 4, True, True, True), ("short", 2, 3, 4, True, True, False),
            ("nobias", 17, 3, 3, True, False, True), ("long", 96, 3, 4, True, True, True),
            ("pow2", 64, 8, 4, False, True, True)]:
        x, weight = g.normal(T, C, sd=20 if name == "long" else 1), g.normal(C, K)
        bias = g.normal(C) if has_bias else None
        s0 = g.normal(K - 1, C) if warm else np.zeros((K - 1, C), np.float32)
        a = doubles(x=x, weight=weight, bias=bias, state=s0)
        x_, w_, b_, s_ = (None if v is None else torch.from_numpy(v) for v in a.values())
        mode = "silu" if act else None
        y, s1 = block(x_.T[None], w_, b_, initial_states=s_.T[None] if warm else None, return_final_states=True,
                      activation=mode)
        y, s1 = y[0].T, s1[0].T
        rolling = s_.T[None].clone()
        agree(np.stack([update(x_[t][None], rolling, w_, b_, activation=mode)[0] for t in range(T)]), y)
        agree(rolling[0].T, s1)
        ours_y, ours_s = numpy_conv(**a, activate=act)
        agree(ours_y, y)
        agree(ours_s, s1)
        g.add(name, {"activation": mode or "none", "width": K, "bias": int(has_bias)}, x=x, weight=weight, bias=bias,
              state0=s0, y=y, state1=s1)
    return g


def numpy_mamba(x, w):
    E, N = w["A_log"].shape
    R = w["dt_proj.weight"].shape[1]
    xz = x @ w["in_proj.weight"].T
    u, conv = numpy_conv(xz[:, :E], w["conv1d.weight"][:, 0], w["conv1d.bias"],
                         np.zeros((w["conv1d.weight"].shape[2] - 1, E)), True)
    dbc = u @ w["x_proj.weight"].T
    y, h = numpy_scan(u, dbc[:, :R] @ w["dt_proj.weight"].T, -np.exp(w["A_log"]), dbc[:, None, R:R + N],
                      dbc[:, None, R + N:], w["D"], xz[:, E:], w["dt_proj.bias"], True, np.zeros((E, N)))
    return y @ w["out_proj.weight"].T, conv, h


def mamba_layer():
    g = Golden("mamba_layer", 113, "MambaMixer.forward, one call from a zero state", "transformers", TRANSFORMERS_VERSION)
    for name, T, D, N, R in [("small", 13, 8, 4, 1), ("wide", 33, 16, 16, 1), ("rank3", 7, 12, 5, 3)]:
        config = MambaConfig(hidden_size=D, state_size=N, expand=2, conv_kernel=4, time_step_rank=R, num_hidden_layers=1,
                             use_bias=False, use_conv_bias=True, hidden_act="silu")
        E = config.intermediate_size
        w = {"in_proj.weight": g.normal(2 * E, D, sd=D**-0.5), "conv1d.weight": g.normal(E, 1, 4, sd=0.5),
             "conv1d.bias": g.normal(E, sd=0.1), "x_proj.weight": g.normal(R + 2 * N, E, sd=E**-0.5),
             "dt_proj.weight": g.normal(E, R, sd=R**-0.5), "dt_proj.bias": g.normal(E, mean=-2),
             "A_log": np.log(np.arange(1, N + 1) * np.exp(0.1 * g.normal(E, N))).astype(np.float32),
             "D": g.normal(E, mean=1, sd=0.3), "out_proj.weight": g.normal(D, E, sd=E**-0.5)}
        x = g.normal(T, D)
        mixer = MambaMixer(config, layer_idx=0).double().eval()
        wd = doubles(**w)
        mixer.load_state_dict({n: torch.from_numpy(v) for n, v in wd.items()}, strict=True)
        with reference.float_means_double():
            cache = DynamicCache(config=config)
            y = mixer(wide(x), cache_params=cache)[0]
            stepped = DynamicCache(config=config)
            tokens = [mixer(wide(x)[:, t:t + 1], cache_params=stepped)[0, 0] for t in range(T)]
        conv = cache.get_conv_state(0)[0, :, 1:].T  # the cache is K wide: drop the oldest
        ssm = cache.get_recurrent_state(0)[0]
        assert y.dtype == conv.dtype == ssm.dtype == torch.float64
        agree(np.stack(tokens), y)
        for ours, theirs in zip(numpy_mamba(x.astype(np.float64), wd), (y, conv, ssm)):
            agree(ours, theirs)
        g.add(name, {"d_model": D, "d_inner": E, "d_state": N, "d_conv": 4, "dt_rank": R}, x=x, y=y, conv1=conv,
              ssm1=ssm, **w)
    return g


def lstm():
    g = Golden("lstm", 114, "torch.nn.LSTM, one layer, one direction", "torch", TORCH_VERSION)
    for name, T, I, H, warm in [("odd", 13, 5, 3, True), ("one", 1, 3, 5, True), ("long", 96, 3, 5, True),
                                ("pow2", 32, 8, 16, False)]:
        saturated = name == "long"
        x = g.normal(T, I, sd=3 if saturated else 1)
        w = {"weight_ih_l0": g.normal(4 * H, I, sd=8 if saturated else 0.5), "weight_hh_l0": g.normal(4 * H, H, sd=0.4),
             "bias_ih_l0": g.normal(4 * H, sd=0.5), "bias_hh_l0": g.normal(4 * H, sd=0.5)}
        if saturated:
            w["bias_ih_l0"][H:2 * H] += 6  # forget gates near 1, so that cells grow
        h0, c0 = (g.normal(H, sd=0.5), g.normal(H)) if warm else (np.zeros(H, np.float32), np.zeros(H, np.float32))
        net = torch.nn.LSTM(I, H).double()
        wd = doubles(**w)
        net.load_state_dict({n: torch.from_numpy(v) for n, v in wd.items()}, strict=True)
        y, (h1, c1) = net(torch.from_numpy(x.astype(np.float64)), (wide(h0), wide(c0)))

        h, c, out = h0.astype(np.float64), c0.astype(np.float64), []
        for t in range(T):
            pre = wd["weight_ih_l0"] @ x[t].astype(np.float64) + wd["bias_ih_l0"] + wd["weight_hh_l0"] @ h + wd["bias_hh_l0"]
            i, f, n, o = np.split(pre, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(n)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
        agree(np.stack(out), y)
        agree(h, h1[0])
        agree(c, c1[0])
        g.add(name, x=x, h0=h0, c0=c0, y=y, h1=h1[0], c1=c1[0], **w)
    return g


# -- lookup memory ----------------------------------------------------------------------------------------------


def product_key_memory():
    pkm, *_ = reference.functions(PKM[0], "product_key_memory/product_key_memory.py", "PKM", "exists", "default", "init_",
                                  "MaskedBatchNorm1D")
    g = Golden("product_key_memory", 121, "PKM.forward, query LayerNorm over each half", *PKM[1:])
    for name, T, dim, H, n, k, dk, gate in [("odd", 5, 7, 1, 5, 3, 3, "softmax"), ("heads", 9, 12, 3, 7, 4, 6, "softmax"),
                                            ("one", 1, 6, 2, 5, 2, 4, "softmax"), ("relu", 8, 8, 2, 8, 4, 4, "relu")]:
        net = pkm(dim, heads=H, num_keys=n, topk=k, dim_head=dk, use_layernorm=True,
                  non_competitive_gates=gate == "relu").double().eval()
        x = g.normal(T, dim)
        # In the layout of mneme: query rows (head, half, dk); keys [H, 2, n, dk].
        query, keys = g.normal(H, 2, dk, dim, sd=dim**-0.5), g.normal(H, 2, n, dk)
        gamma, beta, values = g.normal(dk, mean=1, sd=0.2), g.normal(dk, sd=0.2), g.normal(n * n, dim, sd=dim**-0.5)
        net.load_state_dict({n_: torch.from_numpy(np.ascontiguousarray(v, np.float64)) for n_, v in {
            "to_queries.weight": query.transpose(1, 0, 2, 3).reshape(2 * H * dk, dim),  # package rows: (half, head, dk)
            "keys": keys.transpose(0, 2, 1, 3),                                         # package keys: [H, n, 2, dk]
            "norm.weight": gamma, "norm.bias": beta, "values.weight": values}.items()}, strict=True)
        seen = {}
        net.values.register_forward_pre_hook(
            lambda _, args, kw: seen.update(index=args[0], weight=kw["per_sample_weights"]), with_kwargs=True)
        y = net(wide(x))[0]
        index = seen["index"].reshape(T, H, k).numpy()
        weight = seen["weight"].reshape(T, H, k).numpy()

        # All n^2 scores, no two-stage selection.
        a = doubles(x=x, query=query, keys=keys, gamma=gamma, beta=beta, values=values)
        q = np.einsum("hpdi,ti->thpd", a["query"], a["x"])
        q = (q - q.mean(-1, keepdims=True)) / np.sqrt(q.var(-1, keepdims=True) + 1e-5) * a["gamma"] + a["beta"]
        s = np.einsum("thpd,hpnd->thpn", q, a["keys"])
        scores = (s[:, :, 0, :, None] + s[:, :, 1, None, :]).reshape(T, H, n * n)
        order = np.argsort(-scores, -1, kind="stable")
        top = np.take_along_axis(scores, order[..., :k + 1], -1)
        assert (top[..., :-1] - top[..., 1:]).min() > 1e-5, "a near tie: float32 could select another entry; change the seed"
        assert (order[..., :k] == index).all()
        ours = np.maximum(top[..., :k], 0)
        if gate == "softmax":
            ours = np.exp(top[..., :k] - top[..., :1])
            ours /= ours.sum(-1, keepdims=True)
        agree(ours, weight)
        agree(np.einsum("thk,thkd->td", ours, a["values"][order[..., :k]]), y)
        g.add(name, {"heads": H, "num_keys": n, "topk": k, "dim_head": dk, "gate": gate, "eps": "1e-5"}, x=x,
              query_weight=query.reshape(H * 2 * dk, dim), norm_weight=gamma, norm_bias=beta, keys=keys, values=values,
              scores=top[..., :k], indices=index.astype(np.int32), weights=weight, y=y)
    return g


# -- attention, layers, blocks ----------------------------------------------------------------------------------


def numpy_attention(q, k, v, offset):
    n, Hq, d = q.shape
    out = np.empty((n, Hq, v.shape[2]))
    for r in range(n):
        for h in range(Hq):
            j = h * k.shape[1] // Hq
            logits = k[:offset + r + 1, j] @ q[r, h] / math.sqrt(d)
            p = np.exp(logits - logits.max())
            out[r, h] = p @ v[:offset + r + 1, j] / p.sum()
    return out


def torch_attention(q, k, v, offset):
    mask = torch.ones(len(q), len(k), dtype=torch.bool).tril(offset)
    head_first = [torch.as_tensor(x).transpose(0, 1)[None] for x in (q, k, v)]
    o = F.scaled_dot_product_attention(*head_first, attn_mask=mask, enable_gqa=True)
    if offset == 0:
        agree(F.scaled_dot_product_attention(*head_first, is_causal=True, enable_gqa=True), o)
    return o[0].transpose(0, 1)


def numpy_rotate(x, positions, theta, interleaved):
    """Pair i, read as the complex number a + ib, times exp(i p theta_i)."""
    half = len(theta)
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    turned = (x[..., first] + 1j * x[..., second]) * np.exp(1j * positions[:, None] * theta)[:, None]
    y = x.copy()
    y[..., first], y[..., second] = turned.real, turned.imag
    return y


def attention():
    g = Golden("attention", 131, "scaled_dot_product_attention(enable_gqa=True); rotation: llama (half) and gptj "
               "(interleaved) apply_rotary_pos_emb", "torch; transformers", f"{TORCH_VERSION}; {TRANSFORMERS_VERSION}")
    # name, queries, keys, Hq, Hk, d
    for name, n, T, Hq, Hk, d in [("odd", 13, 13, 3, 3, 5), ("one", 1, 1, 4, 2, 6), ("gqa", 33, 33, 6, 2, 8),
                                  ("mqa", 64, 64, 4, 1, 16), ("sharp", 64, 64, 2, 1, 8), ("append", 5, 21, 4, 2, 7),
                                  ("decode", 1, 37, 6, 3, 8)]:
        q, k, v = g.normal(n, Hq, d, sd=12 if name == "sharp" else 1), g.normal(T, Hk, d), g.normal(T, Hk, d)
        a = doubles(q=q, k=k, v=v)
        o = torch_attention(**a, offset=T - n)
        agree(numpy_attention(**a, offset=T - n), o)
        g.add(name, {"q_offset": T - n, "rope": "none"}, q=q, k=k, v=v, o=o)
    positions = np.array([0, 1, 2, 3, 4, 7, 15, 63, 64, 511, 1000, 2047, 4095, 4999, 5000], np.int32)
    T, Hq, Hk, d = len(positions), 4, 2, 8
    for base in (10000, 100000):
        q, k, v = g.normal(T, Hq, d), g.normal(T, Hk, d), g.normal(T, Hk, d)
        for layout, width in [("half", d), ("interleaved", d), ("interleaved", d // 2)]:
            partial = width < d
            theta = np.power(float(base), -np.arange(0, width, 2) / width)
            angle = torch.from_numpy(positions.astype(np.float64))[:, None] * torch.from_numpy(theta)
            x, turned = doubles(q=q, k=k), {}
            if layout == "half":
                both = torch.cat([angle, angle], -1)[None]
                turned["q"], turned["k"] = (r[0] for r in rotate_half_split(
                    torch.from_numpy(x["q"])[None], torch.from_numpy(x["k"])[None], both.cos(), both.sin(), unsqueeze_dim=2))
            else:
                for side in "qk":
                    y = torch.from_numpy(x[side].copy())
                    y[..., :width] = rotate_interleaved(y[None, ..., :width], angle.sin()[None], angle.cos()[None])[0]
                    turned[side] = y
            for side in "qk":
                agree(numpy_rotate(x[side], positions, theta, layout == "interleaved"), turned[side])
            if layout == "half":  # the two layouts are one rotation under a permutation of the channels
                perm = np.arange(d).reshape(2, d // 2).T.ravel()
                other = rotate_interleaved(torch.from_numpy(x["q"][None][..., perm]), angle.sin()[None], angle.cos()[None])
                agree(other[0], turned["q"].numpy()[..., perm])
            o = torch_attention(turned["q"], turned["k"], v.astype(np.float64), 0)
            agree(numpy_attention(turned["q"].numpy(), turned["k"].numpy(), v.astype(np.float64), 0), o)
            g.add(f"rope_{layout}_{'partial_' if partial else ''}{base}",
                  {"q_offset": 0, "rope": layout, "base": base, "rotary_width": width},
                  q=q, k=k, v=v, positions=positions, base=np.array([float(base)]), theta=theta, q_rot=turned["q"],
                  k_rot=turned["k"], o=o)
    return g


def layers():
    g = Golden("layers", 132, "rmsnorm: torch.nn.functional.rms_norm; swiglu: LlamaMLP.forward; linear: "
               "torch.nn.functional.linear; embedding: torch.nn.functional.embedding", "torch; transformers",
               f"{TORCH_VERSION}; {TRANSFORMERS_VERSION}")
    eps = 1e-5
    for name, T, D, sd in [("rmsnorm_odd", 5, 7, 1), ("rmsnorm_one", 1, 3, 1), ("rmsnorm_pow2", 4, 64, 1),
                           ("rmsnorm_tiny", 3, 9, 2e-3), ("rmsnorm_huge", 3, 9, 3e4)]:
        x, weight = g.normal(T, D, sd=sd), g.normal(D, mean=1, sd=0.3)
        a = doubles(x=x, weight=weight)
        y = F.rms_norm(torch.from_numpy(a["x"]), (D,), torch.from_numpy(a["weight"]), eps)
        agree(a["x"] / np.sqrt((a["x"]**2).mean(-1, keepdims=True) + eps) * a["weight"], y)
        g.add(name, {"eps": "1e-5"}, x=x, weight=weight, y=y)
    for name, T, D, width, sd in [("swiglu_odd", 5, 7, 11, 1), ("swiglu_one", 1, 3, 5, 1), ("swiglu_pow2", 8, 16, 32, 1),
                                  ("swiglu_extreme", 6, 5, 9, 40)]:
        x, up, down = g.normal(T, D), g.normal(width, D, sd=D**-0.5), g.normal(D, width, sd=width**-0.5)
        gate = g.normal(width, D, sd=sd * D**-0.5)
        mlp = LlamaMLP(LlamaConfig(hidden_size=D, intermediate_size=width, num_attention_heads=1, head_dim=2,
                                   hidden_act="silu")).double()
        a = doubles(x=x, gate=gate, up=up, down=down)
        mlp.load_state_dict({f"{n}_proj.weight": torch.from_numpy(a[n]) for n in ("gate", "up", "down")}, strict=True)
        y = mlp(torch.from_numpy(a["x"]))
        agree((silu(a["x"] @ a["gate"].T) * (a["x"] @ a["up"].T)) @ a["down"].T, y)
        g.add(name, x=x, gate=gate, up=up, down=down, y=y)
    for name, T, I, O, has_bias in [("linear_odd", 5, 7, 3, True), ("linear_one", 1, 9, 5, True),
                                    ("linear_pow2", 8, 32, 16, True), ("linear_nobias", 3, 5, 13, False)]:
        x, weight, bias = g.normal(T, I), g.normal(O, I), g.normal(O) if has_bias else None
        a = doubles(x=x, weight=weight, bias=bias)
        y = F.linear(*(None if v is None else torch.from_numpy(v) for v in a.values()))
        agree(np.einsum("ti,oi->to", a["x"], a["weight"]) + (0 if bias is None else a["bias"]), y)
        g.add(name, x=x, weight=weight, bias=bias, y=y)
    for name, T, V, D in [("embedding_odd", 7, 11, 5), ("embedding_pow2", 8, 16, 8)]:
        table = g.normal(V, D)
        ids = g.rng.integers(0, V, T).astype(np.int32)
        ids[0], ids[-1] = V - 1, 0
        y = F.embedding(torch.from_numpy(ids), torch.from_numpy(table.astype(np.float64)))
        agree(table[ids].astype(np.float64), y)
        g.add(name, ids=ids, table=table, y=y)
    return g


def scalar_block(name, x):
    """One block of 32 float32 values, encoded value by value: (bytes, decoded values)."""
    f, half = np.float32, lambda v: np.float16(v)
    pack = lambda q: bytes(q[j] | q[j + 16] << 4 for j in range(16))
    if name == "q8_0":
        d = f(max(abs(v) for v in x) / f(127))
        inv = f(1) / d if d else f(0)
        away = lambda v: int(math.copysign(math.floor(abs(v) + 0.5), v))  # exact: |v| < 2^23 in double
        q = [away(float(f(v * inv))) for v in x]
        return half(d).tobytes() + bytes(v & 255 for v in q), [f(half(d)) * f(v) for v in q]
    bits, offset = int(name[1]), name[3] == "1"
    top = (1 << bits) - 1
    if offset:
        low = min(x)
        d = f((max(x) - low) / f(top))
        inv = f(1) / d if d else f(0)
        q = [min(top, int(f(f(v - low) * inv) + f(0.5))) for v in x]
        head, decoded = half(d).tobytes() + half(low).tobytes(), [f(half(d)) * f(v) + f(half(low)) for v in q]
    else:
        big = max(x, key=abs)
        d = f(big / f(-(1 << (bits - 1))))
        inv = f(1) / d if d else f(0)
        q = [min(top, int(f(f(v * inv) + f((1 << (bits - 1)) + 0.5)))) for v in x]
        head, decoded = half(d).tobytes(), [f(half(d)) * f(v - (1 << (bits - 1))) for v in q]
    if bits == 5:
        head += sum((v >> 4) << j for j, v in enumerate(q)).to_bytes(4, "little")
        q = [v & 15 for v in q]
    return head + pack(q), decoded


def quant():
    kinds = gguf.GGMLQuantizationType
    g = Golden("quant", 133, "gguf.quants.quantize and dequantize", "gguf", GGUF_VERSION)
    for name in ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "f16", "bf16"):
        kind = getattr(kinds, name.upper())
        for columns in (64, 96):
            rows = g.normal(3, columns)
            rows[1] *= g.pick([1e-4, 0.3, 50], columns)  # outliers
            rows[2, :32] = 0                             # a block without scale
            blocks = gguf.quants.quantize(rows, kind)
            decoded = gguf.quants.dequantize(blocks, kind).astype(np.float32)
            raw = np.ascontiguousarray(blocks).view(np.uint8).reshape(3, -1)
            if name == "f16":
                assert (rows.astype(np.float16).view(np.uint8) == raw).all()
                assert (rows.astype(np.float16).astype(np.float32) == decoded).all()
            elif name == "bf16":
                t = torch.from_numpy(rows).bfloat16()
                assert (t.view(torch.uint8).numpy() == raw).all() and (t.float().numpy() == decoded).all()
            else:
                for r in range(3):
                    own = [scalar_block(name, list(rows[r, c:c + 32])) for c in range(0, columns, 32)]
                    assert b"".join(o[0] for o in own) == raw[r].tobytes(), (name, r)
                    assert (np.concatenate([o[1] for o in own]) == decoded[r]).all(), (name, r)
            g.add(f"{name}_{columns}", {"format": name, "row_bytes": raw.shape[1]}, rows=rows, blocks=raw, dequant=decoded)
    return g


OPS = [linear_attention, gla, gated_delta_rule, selective_scan, causal_conv1d, mamba_layer, product_key_memory, lstm,
       attention, layers, quant]
