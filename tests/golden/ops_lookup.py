# SPDX-License-Identifier: Apache-2.0
"""Golden values of the lookup family; run by make_golden.py."""
import math

import numpy as np
import torch

import reference
from golden_case import Golden, agree, doubles, wide

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


OPS = [peer]
