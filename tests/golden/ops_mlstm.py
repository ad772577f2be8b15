# SPDX-License-Identifier: Apache-2.0
"""Golden values of the mLSTM layer, with either input gate; run by make_golden.py."""
import collections.abc
import importlib.metadata

import numpy as np
import torch
import torch.nn.functional as F
from transformers import xLSTMConfig
from transformers.models.xlstm.modeling_xlstm import xLSTMLayer

import reference
from golden_case import Golden, agree, doubles, sigmoid, wide

KERNELS = ("mlstm_kernels-2.0.6-*.whl", "mlstm-kernels", "2.0.6")
RECURRENT = "mlstm_kernels/torch/recurrent/"
TRANSFORMERS_VERSION = importlib.metadata.version("transformers")


def heads_first(x, H):
    """[T, H N] to [1, H, T, N]"""
    return torch.from_numpy(x.reshape(len(x), H, -1).transpose(1, 0, 2))[None]


def numpy_mlstm(q, k, v, i, f, C, n, m, eps):
    """Everything in true scale: m only says what eps is a part of."""
    C, n, out = C * np.exp(m)[:, None, None], n * np.exp(m)[:, None], []
    for t in range(len(q)):
        keep, write = sigmoid(f[t]), np.exp(i[t])
        C = keep[:, None, None] * C + (write[:, None] * k[t])[:, :, None] * v[t][:, None, :]
        n = keep[:, None] * n + write[:, None] * k[t]
        m = np.maximum(m - np.log1p(np.exp(-f[t])), i[t])
        divisor = np.maximum(np.abs((n * q[t]).sum(-1)), 1) + eps * np.exp(m)
        out.append(np.einsum("hkv,hk->hv", C, q[t]) / divisor[:, None])
    return np.stack(out), C / np.exp(m)[:, None, None], n / np.exp(m)[:, None], m


def drawn_weights(g, D, H, K, V, sd):
    w = {f"{n}.weight": g.normal(rows, D, sd=D**-0.5)
         for n, rows in [("q", H * K), ("k", H * K), ("v", H * V), ("ogate_preact", H * V)]}
    for n, mean in [("igate", 0), ("fgate", 2)]:
        w |= {f"{n}_preact.weight": g.normal(H, D, sd=sd * D**-0.5), f"{n}_preact.bias": g.normal(H, mean=mean)}
    return w | {"multihead_norm.weight": g.normal(H * V, mean=1, sd=0.3),
                "out_proj.weight": g.normal(D, H * V, sd=(H * V)**-0.5)}


def projections(xd, wd, cap):
    """q, k, v [T, H N] and capped gates i, f [T, H]"""
    q, k, v = (xd @ wd[f"{n}.weight"].T for n in "qkv")
    i, f = (xd @ wd[f"{n}_preact.weight"].T + wd[f"{n}_preact.bias"] for n in ("igate", "fgate"))
    return (q, k, v, cap * np.tanh(i / cap), cap * np.tanh(f / cap)) if cap else (q, k, v, i, f)


def finished(h, xd, wd, V):
    """What follows the read h [1, H, T, V]."""
    normed = F.layer_norm(h[0].transpose(0, 1), (V,), eps=1e-6).reshape(len(xd), -1) * torch.from_numpy(
        wd["multihead_norm.weight"])
    gate = torch.sigmoid(torch.from_numpy(xd @ wd["ogate_preact.weight"].T))
    return (normed * gate) @ torch.from_numpy(wd["out_proj.weight"]).T


def mlstm():
    step, = reference.functions(KERNELS[0], RECURRENT + "native_step.py", "mlstm_recurrent_step__native_fw")
    _, run = reference.functions(KERNELS[0], RECURRENT + "native_sequence.py", "_mlstm_recurrent_sequence_loop_fw",
                                 "mlstm_recurrent_sequence__native_fw",
                                 given={"mlstm_recurrent_step__native_fw": step, "Callable": collections.abc.Callable})
    g = Golden("mlstm", 107, "mlstm_recurrent_sequence__native_fw between the projections and the norm of xLSTMLayer",
               "mlstm-kernels; transformers", f"{KERNELS[2]}; {TRANSFORMERS_VERSION}")
    # name, T, D, H, K, V, soft cap, deviation of the gates
    for name, T, D, H, K, V, cap, sd in [("odd", 13, 8, 2, 5, 7, 15, 1), ("one", 1, 4, 2, 3, 2, 15, 1),
                                         ("long", 80, 8, 2, 6, 5, 15, 20), ("extreme", 80, 8, 2, 6, 5, 0, 30),
                                         ("pow2", 64, 16, 4, 4, 8, 15, 1)]:
        x = g.normal(T, D)
        w = drawn_weights(g, D, H, K, V, sd)
        start = [g.normal(H, K, V), g.normal(H, K), g.normal(H)]
        if name == "pow2":
            start = [np.zeros_like(s) for s in start]
        xd, wd = x.astype(np.float64), doubles(**w)
        q, k, v, i, f = projections(xd, wd, cap)
        c0, n0, m0 = wide(*start)
        h, (c1, n1, m1) = run(*(heads_first(a, H) for a in (q, k, v)), *(heads_first(a, H)[..., 0] for a in (i, f)),
                              c_initial=c0, n_initial=n0, m_initial=m0[..., None], return_last_states=True)
        q, k, v = (a.reshape(T, H, -1) for a in (q, k, v))
        for ours, theirs in zip(numpy_mlstm(q * K**-0.5, k, v, i, f, *(s.astype(np.float64) for s in start), 1e-6),
                                (h[0].transpose(0, 1), c1[0], n1[0], m1[0, :, 0])):
            agree(ours, theirs)
        y = finished(h, xd, wd, V)

        config = xLSTMConfig(hidden_size=D, num_heads=H, num_hidden_layers=1, qk_dim_factor=H * K / D,
                             v_dim_factor=H * V / D, mode="inference", chunk_size=1024)
        for option, value in [("inference_state_dtype", "float64"), ("gate_soft_cap", float(cap) or None)]:
            object.__setattr__(config, option, value)  # the class itself refuses these
        layer = xLSTMLayer(config).double().eval()
        layer.load_state_dict({n: torch.from_numpy(a) for n, a in wd.items()}, strict=True)
        with reference.float_means_double():
            theirs, state = layer(wide(x), (c0, n0, m0[..., None]))
        agree(y, theirs[0])
        for ours, carried in zip((c1, n1, m1), state):
            agree(ours, carried)
        g.add(name, {"heads": H, "soft_cap": cap}, x=x, y=y, c0=start[0], n0=start[1], m0=start[2], c1=c1[0], n1=n1[0],
              m1=m1[0, :, 0], **w)
    return g


def numpy_mlstm_sigmoid(q, k, v, i, f, normalise, eps):
    C, n, out = np.zeros((q.shape[1], q.shape[2], v.shape[2])), np.zeros(q.shape[1:]), []
    for t in range(len(q)):
        keep, write = sigmoid(f[t]), sigmoid(i[t])
        C = keep[:, None, None] * C + (write[:, None] * k[t])[:, :, None] * v[t][:, None, :]
        n = keep[:, None] * n + write[:, None] * k[t]
        divisor = np.maximum(np.abs((n * q[t]).sum(-1)), 1) + eps if normalise else np.ones(len(n))
        out.append(np.einsum("hkv,hk->hv", C, q[t]) / divisor[:, None])
    return np.stack(out), C, n


def mlstm_sigmoid():
    run, = reference.functions(KERNELS[0], "mlstm_kernels/torch/parallel/native_siging/fw.py", "mlstm_siging_parallel_fw")
    g = Golden("mlstm_sigmoid", 108, "mlstm_siging_parallel_fw between the projections and the norm of mlstm", *KERNELS[1:])
    # name, T, D, H, K, V, soft cap, deviation of the gates, normalise
    for name, T, D, H, K, V, cap, sd, normalise in [
            ("odd", 13, 8, 2, 5, 7, 15, 1, True), ("one", 1, 4, 2, 3, 2, 15, 1, True), ("long", 80, 8, 2, 6, 5, 15, 20, True),
            ("extreme", 80, 8, 2, 6, 5, 0, 30, True), ("bare", 21, 6, 3, 4, 5, 15, 1, False)]:
        x, w = g.normal(T, D, sd=2), drawn_weights(g, D, H, K, V, sd)
        xd, wd = x.astype(np.float64), doubles(**w)
        q, k, v, i, f = projections(xd, wd, cap)
        h, _ = run(*(heads_first(a, H) for a in (q, k, v)), *(heads_first(a, H)[..., 0] for a in (i, f)), eps=1e-6,
                   normalize=normalise)
        q, k, v = (a.reshape(T, H, -1) for a in (q, k, v))
        ours, c1, n1 = numpy_mlstm_sigmoid(q * K**-0.5, k, v, i, f, normalise, 1e-6)
        agree(ours, h[0].transpose(0, 1))
        g.add(name, {"heads": H, "soft_cap": cap, "normalise": int(normalise)}, x=x, y=finished(h, xd, wd, V), c1=c1,
              n1=n1 if normalise else None, **w)
    return g


OPS = [mlstm, mlstm_sigmoid]
