# SPDX-License-Identifier: Apache-2.0
"""Golden values of the lookup family; run by make_golden.py."""
import math
import types

import numpy as np
import torch

import reference
from golden_case import Golden, agree, doubles, sigmoid, silu, wide

ENGRAM = ("Engram-fb7f84a21f91.tar.gz", "deepseek-ai/Engram", "fb7f84a21f91")
MEMORY_PLUS = ("memory-layers-consumer-hardware-235c1c3d50cb.tar.gz", "Alex-888888/memory-layers-consumer-hardware",
               "235c1c3d50cb")
EPSILON = float(np.finfo(np.float32).eps)  # of torch's RMSNorm in float32
PEER = ("peer_pytorch-0.2.2-*.whl", "peer-pytorch", "0.2.2")


def numpy_gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def peer():
    import einx  # of this op alone

    net_type, *_ = reference.functions(PEER[0], "PEER_pytorch/PEER.py", "PEER", "RMSNorm", "exists", "default",
                                       given={"einx": einx})
    g = Golden("peer", 141, "PEER.forward", *PEER[1:])
    # name, T, dim, H, n, k, dk, non-competing scores (of which the package keeps the best), separate experts, norm
    for name, T, dim, H, n, k, dk, relu, separate, norm in [
            ("softmax", 7, 10, 2, 5, 6, 3, False, False, False), ("norm", 5, 12, 3, 7, 4, 6, False, False, True),
            ("separate", 6, 8, 3, 4, 3, 5, False, True, True), ("one", 1, 6, 1, 6, 5, 4, False, False, False),
            ("relu", 9, 8, 4, 6, 1, 4, True, False, False)]:
        net = net_type(dim, heads=H, num_experts=n * n, num_experts_per_head=k, dim_key=dk, product_key_topk=min(n, k + 2),
                       separate_embed_per_head=separate, pre_rmsnorm=norm, non_competing_scores=relu).double().eval()
        x = g.normal(T, dim)
        # In the layout of mneme: query rows (head, half, dk); keys [H, 2, n, dk].
        query, keys = g.normal(H, 2, dk, dim, sd=dim**-0.5), g.normal(H, 2, n, dk)
        experts = n * n * (H if separate else 1)
        down, up = g.normal(experts, dim, sd=dim**-0.5), g.normal(experts, dim, sd=dim**-0.5)
        gamma = g.uniform(0.5, 1.5, dim) if norm else None
        tensors = {"to_queries.0.weight": query.transpose(1, 0, 2, 3).reshape(2 * H * dk, dim),  # rows: (half, head, dk)
                   "keys": keys.transpose(0, 2, 1, 3),                                           # [H, n, 2, dk]
                   "weight_down_embed.weight": down, "weight_up_embed.weight": up}
        if norm:
            tensors["norm.gamma"] = gamma.astype(np.float64) - 1
        net.load_state_dict({n_: torch.from_numpy(np.ascontiguousarray(v, np.float64)) for n_, v in tensors.items()},
                            strict=True)
        y = net(wide(x))[0]

        # All n^2 scores, no two-stage selection.
        a = doubles(x=x, query=query, keys=keys, down=down, up=up, gamma=gamma)
        h = a["x"]
        if norm:
            h = h / np.sqrt((h * h).mean(-1, keepdims=True)) * a["gamma"]
        s = np.einsum("thpd,hpnd->thpn", np.einsum("hpdi,ti->thpd", a["query"], h), a["keys"])
        scores = (s[:, :, 0, :, None] + s[:, :, 1, None, :]).reshape(T, H, n * n)
        order = np.argsort(-scores, -1, kind="stable")
        top = np.take_along_axis(scores, order[..., :k + 1], -1)
        assert (top[..., :-1] - top[..., 1:]).min() > 1e-5, "a near tie: float32 could select another entry; change the seed"
        share = np.maximum(top[..., :k], 0)
        if not relu:
            share = np.exp(top[..., :k] - top[..., :1])
            share /= share.sum(-1, keepdims=True)
        index = order[..., :k] + (np.arange(H)[:, None] * n * n if separate else 0)
        hidden = numpy_gelu(np.einsum("td,thkd->thk", h, a["down"][index]))
        agree(np.einsum("thk,thkd->td", share * hidden, a["up"][index]), y)
        g.add(name, {"heads": H, "sub_keys": n, "top_k": k, "dim_key": dk, "gate": "relu" if relu else "softmax",
                     "separate": int(separate)}, x=x, norm=gamma, query=query.reshape(H * 2 * dk, dim), keys=keys,
              down=down, up=up, y=y)
    return g


def best(scores, k):
    """Indices and softmax weights of the k best. Near ties are refused."""
    order = np.argsort(-scores, -1, kind="stable")
    top = np.take_along_axis(scores, order[..., :k + 1], -1)
    assert (top[..., :-1] - top[..., 1:]).min() > 1e-5, "a near tie: float32 could select another entry; change the seed"
    share = np.exp(top[..., :k] - top[..., :1])
    return order[..., :k], share / share.sum(-1, keepdims=True)


def memory_plus():
    """One head. The reference divides query halves by their lengths; ours are layer norms without epsilon of halves whose
    channels sum to zero (the columns of query_proj do, exactly), times temperature / sqrt(dk): the same."""
    net_type, = reference.functions(MEMORY_PLUS[0], "src/stages/etage4a_qwen_inject.py", "ProductKeyMemoryPlus",
                                    given={"torch": torch, "nn": torch.nn, "F": torch.nn.functional})
    g = Golden("memory_plus", 142, "ProductKeyMemoryPlus.forward", *MEMORY_PLUS[1:])
    for name, T, dk, n, k, dv, temperature in [("odd", 7, 5, 6, 4, 3, 5.0), ("one", 1, 4, 5, 5, 9, 20.0),
                                               ("wide", 9, 3, 8, 3, 16, 2.0)]:
        D = 2 * dk
        x = g.normal(T, D)
        query = np.round(g.normal(2, dk, D) * 64) / 64
        query[:, -1] = -query[:, :-1].sum(1)
        keys, values = g.normal(2, n, dk), g.normal(n * n, dv)
        gate, out = g.normal(dv, D, sd=D**-0.5), g.normal(D, dv, sd=dv**-0.5)
        net = net_type(D, n, dv, torch.from_numpy(values.astype(np.float64)), k, k, temperature, torch.float64).eval()
        net.load_state_dict({"q_proj.weight": wide(query.reshape(D, D))[0], "C1": wide(keys)[0, 0], "C2": wide(keys)[0, 1],
                             "gate_proj.weight": wide(gate)[0], "out_proj.weight": wide(out)[0]}, strict=True)
        y = net(wide(x))[0]

        a = doubles(x=x, query=query, keys=keys, values=values, gate=gate, out=out)
        q = np.einsum("pdi,ti->tpd", a["query"], a["x"])
        unit_keys = a["keys"] / np.sqrt((a["keys"]**2).sum(-1, keepdims=True))
        s = temperature * np.einsum("tpd,pnd->tpn", q / np.sqrt((q * q).sum(-1, keepdims=True)), unit_keys)
        index, share = best((s[:, 0, :, None] + s[:, 1, None, :]).reshape(T, n * n), k)
        v = np.einsum("tk,tkd->td", share, a["values"][index])
        agree((v * silu(a["x"] @ a["gate"].T)) @ a["out"].T, y)
        g.add(name, {"sub_keys": n, "top_k": k}, x=x, query=query.reshape(D, D),
              norm=np.full(dk, temperature / math.sqrt(dk)), keys=unit_keys, values=values, gate=gate, out=out, y=y)
    return g


def numpy_engram(x, h, map_, pad, multipliers, primes, w, dilation):
    """All tokens at once; `dilation` is the longest n."""
    first, D = np.concatenate([[0], np.cumsum(primes)]), h.shape[1]
    ids = [map_[np.concatenate([np.full(n, pad), x])[:len(x)]].astype(np.int64) for n in range(dilation)]
    mixes, rows = ids[0] * multipliers[0], []
    for n in range(1, dilation):
        mixes = mixes ^ (ids[n] * multipliers[n])
        heads = len(primes) // (dilation - 1)
        rows += [first[t] + mixes % primes[t] for t in range((n - 1) * heads, n * heads)]
    e = w["multi_head_embedding.embedding.weight"][np.stack(rows, 1)].reshape(len(x), -1)

    def norm(a, name, eps):
        return a / np.sqrt((a * a).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"]

    key = norm(e @ w["key_projs.0.weight"].T + w["key_projs.0.bias"], "norm1.0", EPSILON)
    s = (key * norm(h, "norm2.0", EPSILON)).sum(-1) / math.sqrt(D)
    u = (e @ w["value_proj.weight"].T + w["value_proj.bias"]) * sigmoid(
        np.sign(s) * np.sqrt(np.maximum(np.abs(s), 1e-6)))[:, None]
    taps = w["short_conv.conv.weight"][:, 0]
    back = (taps.shape[1] - 1) * dilation
    padded = np.concatenate([np.zeros((back, D)), norm(u, "short_conv.norms.0", 1e-5)])
    return u + silu(sum(padded[j * dilation:j * dilation + len(x)] * taps[:, j] for j in range(taps.shape[1])))


def engram():
    import sympy  # comes with torch

    g = Golden("engram", 143, "Engram.forward with one branch", *ENGRAM[1:])
    # name, T, D, ids, sizes, width per n, heads, layers before, kernel
    for name, T, D, ids, sizes, width, heads, before, kernel in [
            ("odd", 23, 6, 9, [10, 12], 6, 2, 0, 4), ("one", 1, 5, 7, [11, 9], 4, 4, 0, 3),
            ("later", 17, 7, 12, [8, 14, 9], 6, 3, 1, 2), ("bigrams", 19, 4, 30, [20], 5, 1, 2, 4)]:
        text = g.rng.integers(0, ids, ids)  # ids that mean the same get one number, counted from 0
        map_ = np.unique(text, return_inverse=True)[1].astype(np.int32)

        class Compressed:
            lookup_table = map_

            def __init__(self, tokenizer_name_or_path):
                pass

            def __len__(self):
                return int(map_.max()) + 1

            def __call__(self, x):
                return map_[x].astype(np.int64)

        config = types.SimpleNamespace(tokenizer_name_or_path="", engram_vocab_size=sizes, max_ngram_size=len(sizes) + 1,
                                       n_embed_per_ngram=width, n_head_per_ngram=heads, layer_ids=[2, 5, 7], pad_id=ids - 2,
                                       seed=143, kernel_size=kernel)
        layer = config.layer_ids[before]
        net_type, *_ = reference.functions(
            ENGRAM[0], "engram_demo_v1.py", "Engram", "ShortConv", "find_next_prime", "NgramHashMapping",
            "MultiHeadEmbedding",
            given={"isprime": sympy.isprime, "CompressedTokenizer": Compressed, "engram_cfg": config, "nn": torch.nn,
                   "backbone_config": types.SimpleNamespace(hidden_size=D, hc_mult=1)})
        net = net_type(layer).double().eval()
        for norm in (*net.norm1, *net.norm2):
            norm.eps = EPSILON
        multipliers = net.hash_mapping.layer_multipliers[layer]
        primes = np.concatenate(net.hash_mapping.vocab_size_across_layers[layer])
        w = {n: g.normal(*p.shape, mean=float("norm" in n),
                         sd=0.3 if p.ndim == 1 else 1 if "embedding" in n else p[0].numel()**-0.5)
             for n, p in net.named_parameters()}
        wd = doubles(**w)
        absent, unknown = net.load_state_dict({n: torch.from_numpy(p) for n, p in wd.items()}, strict=False)
        assert (absent, unknown) == (["multi_head_embedding.offsets"], [])
        x, h = g.rng.integers(0, ids, T).astype(np.int32), g.normal(T, D)
        y = net(wide(h)[:, :, None], x[None])[0, :, 0]
        agree(numpy_engram(x, h.astype(np.float64), map_, config.pad_id, multipliers, primes, wd, len(sizes) + 1), y)
        g.add(name, {"vocabulary": ids, "pad_id": config.pad_id, "width": width, "heads": heads, "layer": before}, x=x, h=h,
              y=y, token_map=map_, sizes=np.array(sizes, np.int32), primes=primes.astype(np.int32),
              multipliers=np.stack(np.divmod(multipliers, 2**31), 1).astype(np.int32), **w)
    return g


OPS = [peer, memory_plus, engram]
