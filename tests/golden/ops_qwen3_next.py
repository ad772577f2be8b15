# SPDX-License-Identifier: Apache-2.0
"""Golden values of Qwen3-Next's linear attention; run by make_golden.py."""
import importlib.metadata

import numpy as np
import torch
from transformers import DynamicCache, Qwen3NextConfig, Qwen3NextForCausalLM
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

import reference
from golden_case import Golden, agree, sigmoid, silu, softplus, wide


def numpy_layer(x, w, Hk, Hv, K, V):
    """Rows of the projections picked one by one; y, the last inputs of the convolution, S [Hv, K, V]."""
    r, width = Hv // Hk, w["conv1d.weight"].shape[2]
    of_head = np.arange(2 * Hk * K + 2 * Hv * V).reshape(Hk, -1)
    q, k, v, z = (rows.reshape(-1) for rows in np.split(of_head, [K, 2 * K, 2 * K + r * V], 1))
    b, a = (rows.reshape(-1) for rows in np.split(np.arange(2 * Hv).reshape(Hk, -1), 2, 1))
    qkvz, ba = x @ w["in_proj_qkvz.weight"].T, x @ w["in_proj_ba.weight"].T
    padded = np.concatenate([np.zeros((width - 1, 2 * Hk * K + Hv * V)), qkvz[:, np.concatenate([q, k, v])]])
    mixed = silu(sum(padded[j:j + len(x)] * w["conv1d.weight"][:, 0, j] for j in range(width)))
    q, k, v = (part.reshape(len(x), -1, n) for part, n in
               zip(np.split(mixed, [Hk * K, 2 * Hk * K], 1), (K, K, V)))
    q, k = ((part / np.sqrt((part * part).sum(-1, keepdims=True) + 1e-6)).repeat(r, 1) for part in (q, k))
    alpha = np.exp(-np.exp(w["A_log"]) * softplus(ba[:, a] + w["dt_bias"]))
    beta, S, out = sigmoid(ba[:, b]), np.zeros((Hv, K, V)), []
    for t in range(len(x)):
        S = alpha[t][:, None, None] * S
        S = S + np.einsum("hk,hv->hkv", k[t], beta[t][:, None] * (v[t] - np.einsum("hkv,hk->hv", S, k[t])))
        out.append(np.einsum("hkv,hk->hv", S, q[t]) / np.sqrt(K))
    o = np.stack(out)
    o = o / np.sqrt((o * o).mean(-1, keepdims=True) + 1e-6) * w["norm.weight"]
    y = (o.reshape(len(x), -1) * silu(qkvz[:, z])) @ w["out_proj.weight"].T
    return y, padded[len(padded) - (width - 1):], S


def run(layer, config, x, prefill):
    """`prefill` tokens in one call, the others one by one: y, the last inputs of the convolution, S."""
    cache = DynamicCache(config=config)
    with reference.float_means_double():
        parts = [layer(wide(x)[:, :prefill], cache_params=cache)]
        parts += [layer(wide(x)[:, t:t + 1], cache_params=cache) for t in range(prefill, len(x))]
    conv = cache.get_conv_state(0)[0, :, 1:].T  # the cache is one input wider: drop the oldest
    S = cache.get_recurrent_state(0)[0]
    assert conv.dtype == S.dtype == parts[0].dtype == torch.float64
    return torch.cat(parts, 1)[0], conv, S


def qwen3_next():
    g = Golden("qwen3_next", 161, "Qwen3NextGatedDeltaNet.forward, a prefill, then token by token", "transformers",
               importlib.metadata.version("transformers"))
    # name, T, prefill, D, key heads, value heads, K, V, taps
    for name, T, prefill, D, Hk, Hv, K, V, taps in [
            ("odd", 13, 9, 7, 2, 6, 5, 3, 4), ("one", 1, 1, 4, 1, 2, 3, 2, 4), ("equal", 11, 2, 6, 3, 3, 4, 5, 3),
            ("long", 80, 70, 8, 2, 4, 6, 5, 4), ("checkpoint", 9, 5, 8, 2, 4, 4, 6, 4)]:
        config = Qwen3NextConfig(vocab_size=8, hidden_size=D, num_hidden_layers=1, linear_num_key_heads=Hk,
                                 linear_num_value_heads=Hv, linear_key_head_dim=K, linear_value_head_dim=V,
                                 linear_conv_kernel_dim=taps, rms_norm_eps=1e-6, num_experts=2, num_experts_per_tok=1,
                                 moe_intermediate_size=4, shared_expert_intermediate_size=4, intermediate_size=4,
                                 num_attention_heads=2, num_key_value_heads=1, head_dim=4,
                                 layer_types=["linear_attention"])
        x = g.normal(T, D)
        if name == "checkpoint":  # the tensors of a seeded model, under the names of its files
            torch.manual_seed(161)
            model = Qwen3NextForCausalLM(config).float().eval()
            stem = "model.layers.0.linear_attn."
            tensors = {n: p.numpy().copy() for n, p in model.state_dict().items() if n.startswith(stem)}
            w = {n.removeprefix(stem): p for n, p in tensors.items()}
            g.tensors |= tensors
        else:
            channels = 2 * Hk * K + Hv * V
            w = {"in_proj_qkvz.weight": g.normal(channels + Hv * V, D, sd=D**-0.5),
                 "in_proj_ba.weight": g.normal(2 * Hv, D, sd=(3 if name == "long" else 1) * D**-0.5),
                 "conv1d.weight": g.normal(channels, 1, taps, sd=0.5), "dt_bias": g.normal(Hv, mean=-1),
                 "A_log": np.log(g.uniform(0.1, 16, Hv)).astype(np.float32), "norm.weight": g.normal(V, mean=1, sd=0.3),
                 "out_proj.weight": g.normal(D, Hv * V, sd=(Hv * V)**-0.5)}
        layer = Qwen3NextGatedDeltaNet(config, 0).double().eval()
        wd = {n: p.astype(np.float64) for n, p in w.items()}
        layer.load_state_dict({n: torch.from_numpy(p) for n, p in wd.items()}, strict=True)
        y, conv, S = run(layer, config, x, prefill)
        for ours, theirs in zip(numpy_layer(x.astype(np.float64), wd, Hk, Hv, K, V), (y, conv, S)):
            agree(ours, theirs)
        q_conv, k_conv, v_conv = conv.split([Hk * K, Hk * K, Hv * V], 1)
        g.add(name, {"prefill": prefill, "heads": Hk, "value_heads": Hv, "head_dim_k": K, "head_dim_v": V, "conv": taps},
              x=x, y=y, q_conv1=q_conv, k_conv1=k_conv, v_conv1=v_conv, s1=S, **({} if name == "checkpoint" else w))
    return g


OPS = [qwen3_next]
