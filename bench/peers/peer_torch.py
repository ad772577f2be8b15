# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the CPU. Recurrences are loops of its operations, in place: it has no op of them."""

import itertools

import torch
import torch.nn.functional as F

VERSION = f"torch {torch.__version__}"
KINDS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def use_threads(n):
    torch.set_num_threads(n)
    torch.set_grad_enabled(False)


def contenders(p):
    """{name: a function of the number of the state, which returns the outputs}"""
    make = {"Recurrence": recurrence, "SelectiveScan": selective_scan, "CausalConv": causal_conv,
            "Attention": attention, "MatMul": matmul, "ProductKey": product_key, "Cell": cell}
    return make[type(p).__name__](p)


def tensor(x, dtype=torch.float32):
    return torch.tensor(x).to(dtype)


def copies(p, x, dtype=torch.float32):
    return [tensor(x, dtype) for _ in range(p.states)]


def recurrence(p):
    S = copies(p, p.S)
    q, k, v, beta = tensor(p.q)[:, :, None], tensor(p.k)[:, :, None], tensor(p.v)[:, :, None], tensor(p.beta)[..., None]
    a, b = tensor(p.a)[:, :, None], tensor(p.b)[..., None]
    alpha = tensor(p.alpha)[..., None] if p.decay else None
    k_column = k.transpose(2, 3)

    def run(i):
        s, out = S[i], []
        for t in range(p.tokens):
            if p.before:
                out.append(torch.bmm(q[t], s))
            e = torch.bmm(a[t], s) if p.write == "rank one" else None
            if alpha is not None:
                s.mul_(alpha[t])
            u = beta[t] * (v[t] - torch.bmm(k[t], s)) if p.write == "delta" else v[t]
            s.baddbmm_(k_column[t], u)
            if e is not None:
                s.baddbmm_(b[t], e)
            if not p.before:
                out.append(torch.bmm(q[t], s))
        return torch.stack(out)[:, :, 0]
    return {"torch": run}


def selective_scan(p):
    H, A = copies(p, p.h), copies(p, p.A)
    u, delta, B, C, D = (tensor(x) for x in (p.u, p.delta, p.B, p.C, p.D))

    def run(i):
        h, out = H[i], []
        for t in range(p.tokens):
            dt = F.softplus(delta[t])
            h.mul_(torch.exp(dt[:, None] * A[i])).add_((dt * u[t])[:, None] * B[t])
            out.append(torch.addcmul(h @ C[t], D, u[t]))
        return torch.stack(out)
    return {"torch": run}


def causal_conv(p):
    past, w, x = copies(p, p.past), copies(p, p.w), tensor(p.x)
    if p.tokens == 1:
        def run(i):
            rows = torch.cat([past[i], x])
            past[i].copy_(rows[1:])
            return (w[i] * rows).sum(0, keepdim=True)
        return {"torch": run}
    # Channel by channel, as its convolution wants them.
    channels, taps = x.T.contiguous()[None], w[0].T.contiguous()[:, None]
    before = past[0].T.contiguous()[None]

    def convolve(_):
        rows = torch.cat([before, channels], dim=2)
        before.copy_(rows[:, :, -before.shape[2]:])
        return F.conv1d(rows, taps, groups=p.channels)[0].T
    return {"torch": convolve}


def attention(p):
    if p.store not in KINDS:
        return {}
    dtype, group = KINDS[p.store], p.heads // p.lists
    q = tensor(p.q, dtype).transpose(0, 1).contiguous()   # [heads, tokens, d]
    K = copies(p, p.k.swapaxes(0, 1).copy(), dtype)
    V = copies(p, p.v.swapaxes(0, 1).copy(), dtype)
    whole = p.seen == 1   # a prefill of nothing before
    mask = None
    if p.tokens > 1 and not whole:
        mask = torch.arange(p.n)[None] < p.seen + torch.arange(p.tokens)[:, None]

    def fused(i):
        return F.scaled_dot_product_attention(q[None], K[i][None], V[i][None], attn_mask=mask, enable_gqa=True,
                                              is_causal=p.tokens > 1 and whole)[0].transpose(0, 1)

    def products(i):
        scores = torch.bmm(q.view(p.lists, group, p.d), K[i].transpose(1, 2)) / p.d**0.5
        return torch.bmm(torch.softmax(scores, -1), V[i]).view(1, p.heads, p.d)
    return {"torch sdpa": fused, **({"torch bmm": products} if p.tokens == 1 else {})}


def matmul(p):
    # Ours in the layout that layers have; what rounds rows to 16 bits stands against what may do so too.
    if not p.interleaved or (p.store, p.fast) not in (("f32", False), ("bf16", True)):
        return {}
    W, x = copies(p, p.w, KINDS[p.store]), tensor(p.x, KINDS[p.store])
    return {"torch": lambda i: F.linear(x, W[i])}


def product_key(p):
    keys, q, next_ = copies(p, p.keys), tensor(p.q).transpose(0, 1).contiguous(), itertools.count()
    batches = q.shape[1] // p.tokens

    def run(i):
        at = next(next_) % batches * p.tokens
        s, ids = torch.bmm(q[:, at:at + p.tokens], keys[i].transpose(1, 2)).topk(p.top)
        sums, best = (s[0, :, :, None] + s[1, :, None]).flatten(1).topk(p.top)
        chosen = ids[0].gather(1, best // p.top) * p.sub_keys + ids[1].gather(1, best % p.top)
        return sums, chosen
    return {"torch": lambda i: run(i)[0]}


def cell(p):
    cells = []
    for _ in range(p.states):
        net = (torch.nn.LSTM if p.lstm else torch.nn.GRU)(1, p.H)
        for name, value in (("weight_ih_l0", p.W), ("weight_hh_l0", p.U), ("bias_hh_l0", p.b), ("bias_ih_l0", 0 * p.b)):
            setattr(net, name, torch.nn.Parameter(tensor(value), requires_grad=False))
        net.flatten_parameters()
        cells.append(net)
    x, start = tensor(p.x), (tensor(p.h)[None], tensor(p.c)[None])
    now = [start if p.lstm else start[0]]

    def run(i):
        y, now[0] = cells[i](x, now[0])
        return y
    return {"torch": run}
