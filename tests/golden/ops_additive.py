# SPDX-License-Identifier: Apache-2.0
"""Golden values of whole layers with a gated additive recurrence; run by make_golden.py."""
import numpy as np
import torch
import torch.nn.functional as F
from transformers import DynamicCache, Mamba2Config, Mamba2ForCausalLM
from transformers import logging as transformers_logging
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as rotate_half_split
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

import reference
from golden_case import Golden, agree, doubles, sigmoid, silu, softplus, wide
from ops_first import CONV, FLA, MAMBA, TRANSFORMERS_VERSION, numpy_conv

transformers_logging.set_verbosity_error()  # it warns that no GPU kernels are installed

# name, T, D, H, K, V
LAYER_CASES = [("odd", 13, 7, 3, 6, 5), ("one", 1, 5, 2, 4, 3), ("long", 80, 6, 2, 4, 7), ("pow2", 64, 16, 4, 4, 8)]


def heads(x, H):
    return x.reshape(len(x), H, -1)


def numpy_recurrence(q, k, v, log_decay):
    """Outputs and last state; log_decay [T, H, 1 or K]; q is scaled."""
    S, out = np.zeros((q.shape[1], q.shape[2], v.shape[2])), []
    for t in range(len(q)):
        S = np.exp(log_decay[t])[:, :, None] * S + k[t][:, :, None] * v[t][:, None, :]
        out.append(np.einsum("hkv,hk->hv", S, q[t]))
    return np.stack(out), S


def numpy_norm(o, weight, eps=1e-5):
    return o / np.sqrt((o * o).mean(-1, keepdims=True) + eps) * weight


def projections(g, D, **rows):
    return {f"{name}.weight": g.normal(n, D, sd=D**-0.5) for name, n in rows.items()}


def gated_output(o, x, w):
    """The last stage of retention and simple_gla, by torch and by numpy."""
    T, H, V = o.shape
    o_, x_, w_ = torch.as_tensor(o), torch.from_numpy(x), {n: torch.from_numpy(v) for n, v in w.items()}
    normed = F.rms_norm(o_, (V,), w_["g_norm.weight"], 1e-5).reshape(T, H * V)
    y = F.linear(normed * F.silu(F.linear(x_, w_["g_proj.weight"])), w_["o_proj.weight"])
    ours = numpy_norm(np.asarray(o), w["g_norm.weight"]).reshape(T, H * V) * silu(x @ w["g_proj.weight"].T)
    agree(ours @ w["o_proj.weight"].T, y)
    return y


def retention_layer():
    run, = reference.functions(FLA[0], "fla/ops/retention/naive.py", "naive_retention")
    carried, = reference.functions(FLA[0], "fla/ops/simple_gla/naive.py", "naive_recurrent_simple_gla")
    g = Golden("retention_layer", 104, "naive_retention of rotated q and k (llama apply_rotary_pos_emb); last state: "
               "naive_recurrent_simple_gla", *FLA[1:])
    for name, T, D, H, K, V in LAYER_CASES:
        x = g.normal(T, D)
        w = projections(g, D, q_proj=H * K, k_proj=H * K, v_proj=H * V, g_proj=H * V)
        w |= {"g_norm.weight": g.normal(V, mean=1, sd=0.3), "o_proj.weight": g.normal(D, H * V, sd=(H * V)**-0.5)}
        xd, wd = x.astype(np.float64), doubles(**w)
        q, k, v = (heads(xd @ wd[f"{n}_proj.weight"].T, H) for n in "qkv")
        angle = np.arange(T)[:, None] * 10000.0**(-np.arange(0, K, 2) / K)
        both = torch.from_numpy(np.concatenate([angle, angle], -1))[None]
        turned = rotate_half_split(wide(q), wide(k), both.cos(), both.sin(), unsqueeze_dim=2)
        o = run(*(r.transpose(1, 2) for r in (*turned, wide(v))))[0].transpose(0, 1)
        decay = np.tile(np.log1p(-2.0**(-5 - np.arange(H)))[:, None], (T, 1, 1))
        stepped, s1 = carried(*turned, wide(v), wide(decay[..., 0]))
        agree(stepped[0], o)

        def turn(a):
            pairs = (a[..., :K // 2] + 1j * a[..., K // 2:]) * np.exp(1j * angle)[:, None]
            return np.concatenate([pairs.real, pairs.imag], -1)

        ours, S = numpy_recurrence(turn(q) * K**-0.5, turn(k), v, decay)
        agree(ours, o)
        agree(S, s1[0])
        g.add(name, {"heads": H}, x=x, y=gated_output(o, xd, wd), s1=s1[0], **w)
    return g


def simple_gla_layer():
    run, chunked = reference.functions(FLA[0], "fla/ops/simple_gla/naive.py", "naive_recurrent_simple_gla",
                                       "naive_chunk_simple_gla")
    conv, = reference.functions(CONV[0], "causal_conv1d/causal_conv1d_interface.py", "causal_conv1d_ref")
    g = Golden("simple_gla_layer", 105, "naive_recurrent_simple_gla, equal to naive_chunk_simple_gla; causal_conv1d_ref",
               *FLA[1:])
    for name, T, D, H, K, V in LAYER_CASES + [("noconv", 13, 5, 2, 3, 4)]:
        x = g.normal(T, D)
        w = projections(g, D, q_proj=H * K, k_proj=H * K, v_proj=H * V, g_proj=H * V)
        if name != "noconv":
            w |= {f"{n}_conv1d.weight": g.normal(H * C, 1, 4, sd=0.5) for n, C in zip("qkv", (K, K, V))}
        w |= {"gk_proj.weight": g.normal(H, D), "gk_proj.bias": g.normal(H, sd=3 if name == "long" else 1),
              "g_norm.weight": g.normal(V, mean=1, sd=0.3), "o_proj.weight": g.normal(D, H * V, sd=(H * V)**-0.5)}
        xd, wd, made, past = x.astype(np.float64), doubles(**w), [], {}
        for n in "qkv":
            flat = xd @ wd[f"{n}_proj.weight"].T
            if name != "noconv":
                taps = wd[f"{n}_conv1d.weight"][:, 0]
                y, state = conv(torch.from_numpy(flat).T[None], torch.from_numpy(taps), return_final_states=True,
                                activation="silu")
                ours, last = numpy_conv(flat, taps, None, np.zeros((3, flat.shape[1])), True)
                agree(ours, y[0].T)
                agree(last, state[0].T)
                flat, past[f"{n}_conv1"] = y[0].T.numpy(), state[0].T
            made.append(heads(flat, H))
        a = xd @ wd["gk_proj.weight"].T + wd["gk_proj.bias"]
        decay = F.logsigmoid(torch.from_numpy(a))[None] / 16
        o, s1 = run(*wide(*made), decay)
        other, s1_of_chunks = chunked(*wide(*made), decay, output_final_state=True, chunk_size=T)
        agree(other[0], o[0])
        agree(s1_of_chunks[0], s1[0])
        q, k, v = made
        ours, S = numpy_recurrence(q * K**-0.5, k, v, -np.log1p(np.exp(-a))[:, :, None] / 16)
        agree(ours, o[0])
        agree(S, s1[0])
        g.add(name, {"heads": H, "conv": int(name != "noconv")}, x=x, y=gated_output(o[0], xd, wd), s1=s1[0], **w, **past)
    return g


def hgrn2_layer():
    run, = reference.functions(FLA[0], "fla/ops/gla/naive.py", "naive_recurrent_gla")
    g = Golden("hgrn2_layer", 106, "naive_recurrent_gla with k = 1 - exp(g)", *FLA[1:])
    for name, T, D, H, K, V in LAYER_CASES + [("bound", 13, 7, 3, 5, 4), ("bound_long", 80, 6, 2, 4, 7)]:
        x = g.normal(T, D, sd=4 if "long" in name else 1)  # open and shut gates
        w = projections(g, D, q_proj=H * K, f_proj=H * K, i_proj=H * V)
        w |= {"g_norm.weight": g.normal(H * V, mean=1, sd=0.3), "o_proj.weight": g.normal(D, H * V, sd=(H * V)**-0.5)}
        xd, wd = x.astype(np.float64), doubles(**w)
        f = torch.from_numpy(xd @ wd["f_proj.weight"].T)
        log_alpha, table, layer, bound = F.logsigmoid(f), None, 2, np.zeros(H * K)
        if "bound" in name:
            table = g.normal(4, H * K)
            share = torch.from_numpy(table.astype(np.float64)).softmax(0)
            # The layer takes the bound as a float32 tensor: rounded here, so that both sides start from one value.
            w["lower_bound"] = (share.cumsum(0) - share[0])[layer].numpy().astype(np.float32)
            bound = w["lower_bound"].astype(np.float64)
            lower = torch.from_numpy(bound)
            log_alpha = torch.logaddexp(lower.log(), torch.log1p(-lower) + log_alpha)
        q, i = heads(silu(xd @ wd["q_proj.weight"].T), H), heads(xd @ wd["i_proj.weight"].T, H)
        k, decay = ((heads(t, H))[None] for t in (1 - log_alpha.exp(), log_alpha))
        o, s1 = run(wide(q), k, wide(i), decay, output_final_state=True)
        alpha = bound + (1 - bound) * sigmoid(f.numpy())
        ours, S = numpy_recurrence(q * K**-0.5, heads(1 - alpha, H), i, np.log(heads(alpha, H)))
        agree(ours, o[0])
        agree(S, s1[0])
        flat = o[0].reshape(T, H * V)
        y = F.linear(F.rms_norm(flat, (H * V,), torch.from_numpy(wd["g_norm.weight"]), 1e-5),
                     torch.from_numpy(wd["o_proj.weight"]))
        agree(numpy_norm(flat.numpy(), wd["g_norm.weight"]) @ wd["o_proj.weight"].T, y)
        g.add(name, {"heads": H, "layer": layer}, x=x, y=y, s1=s1[0], lower_bounds=table, **w)
    return g


def numpy_mamba2(x, w, G, N, P, minimal):
    H, (E, K) = len(w["A_log"]), (len(w["norm.weight"]), w["conv1d.weight"].shape[2])
    z, xBC, dt = np.split(x @ w["in_proj.weight"].T, [E, 2 * E + 2 * G * N], 1)
    xBC, conv = numpy_conv(xBC, w["conv1d.weight"][:, 0], w.get("conv1d.bias"), np.zeros((K - 1, xBC.shape[1])), True)
    u, B, C = np.split(xBC, [E, E + G * N], 1)
    group = np.arange(H) * G // H
    u, B, C = heads(u, H), heads(B, G)[:, group], heads(C, G)[:, group]
    delta = softplus(dt + w["dt_bias"])
    decay = -delta * np.exp(w["A_log"])
    o, S = numpy_recurrence(C, B, delta[:, :, None] * u, decay[:, :, None])
    listing, s1 = minimal(*wide(delta[:, :, None] * u, decay, B, C), block_len=len(x))
    agree(listing[0], o)
    agree(s1[0], S.transpose(0, 2, 1))
    o = (o + w["D"][:, None] * u).reshape(len(x), E) * silu(z)
    y = numpy_norm(heads(o, G), heads(w["norm.weight"][None], G)[0]).reshape(len(x), E)
    return y @ w["out_proj.weight"].T, conv, S


def mamba2_layer():
    _, minimal = reference.functions(MAMBA[0], "mamba_ssm/modules/ssd_minimal.py", "segsum", "ssd_minimal_discrete")
    g = Golden("mamba2_layer", 115, "Mamba2Mixer.forward, one call from a zero state", "transformers", TRANSFORMERS_VERSION)
    # name, T, D, heads, head width, groups, N, taps
    for name, T, D, H, P, G, N, K in [("odd", 13, 6, 4, 3, 2, 5, 4), ("one", 1, 5, 2, 5, 1, 3, 4),
                                      ("long", 80, 6, 3, 4, 1, 5, 4), ("groups", 21, 12, 6, 4, 3, 4, 3),
                                      ("pow2", 64, 8, 4, 4, 1, 8, 4)]:
        config = Mamba2Config(hidden_size=D, num_heads=H, head_dim=P, n_groups=G, state_size=N, expand=2, conv_kernel=K,
                              num_hidden_layers=1, use_bias=False, use_conv_bias=True, hidden_act="silu", chunk_size=8,
                              layer_norm_epsilon=1e-5)
        E = H * P
        channels = E + 2 * G * N
        w = {"in_proj.weight": g.normal(E + channels + H, D, sd=D**-0.5), "conv1d.weight": g.normal(channels, 1, K, sd=0.5),
             "conv1d.bias": g.normal(channels, sd=0.1), "dt_bias": g.normal(H, mean=-2, sd=2 if name == "long" else 1),
             "A_log": np.log(g.uniform(1, 16, H)).astype(np.float32), "D": g.normal(H, mean=1, sd=0.3),
             "norm.weight": g.normal(E, mean=1, sd=0.3), "out_proj.weight": g.normal(D, E, sd=E**-0.5)}
        x = g.normal(T, D)
        mixer = Mamba2Mixer(config, layer_idx=0).double().eval()
        wd = doubles(**w)
        mixer.load_state_dict({n: torch.from_numpy(v) for n, v in wd.items()}, strict=True)
        with reference.float_means_double():
            cache, stepped = DynamicCache(config=config), DynamicCache(config=config)
            y = mixer(wide(x), cache_params=cache)[0]
            tokens = [mixer(wide(x)[:, t:t + 1], cache_params=stepped)[0, 0] for t in range(T)]
        conv = cache.get_conv_state(0)[0, :, 1:].T  # the cache is K wide: drop the oldest
        ssm = cache.get_recurrent_state(0)[0].transpose(1, 2)  # there [H, P, N]
        assert y.dtype == conv.dtype == ssm.dtype == torch.float64
        agree(np.stack(tokens), y)
        for ours, theirs in zip(numpy_mamba2(x.astype(np.float64), wd, G, N, P, minimal), (y, conv, ssm)):
            agree(ours, theirs)
        g.add(name, {"d_model": D, "d_state": N, "d_conv": K, "headdim": P, "ngroups": G}, x=x, y=y, conv1=conv, ssm1=ssm,
              **w)
    return g


def mamba2_checkpoint():
    """Mixers of a seeded model under the names of its checkpoint; input and output of the second of them."""
    _, minimal = reference.functions(MAMBA[0], "mamba_ssm/modules/ssd_minimal.py", "segsum", "ssd_minimal_discrete")
    g = Golden("mamba2_checkpoint", 116, "state_dict of Mamba2ForCausalLM; Mamba2Mixer.forward", "transformers",
               TRANSFORMERS_VERSION)
    G, N, P = 2, 5, 4
    config = Mamba2Config(vocab_size=8, hidden_size=8, num_heads=4, head_dim=P, n_groups=G, state_size=N, expand=2,
                          conv_kernel=4, num_hidden_layers=2, chunk_size=8, layer_norm_epsilon=1e-5)
    torch.manual_seed(116)
    model = Mamba2ForCausalLM(config).eval()
    for name, value in model.state_dict().items():
        if ".mixer." in name:
            g.tensors[name] = value.numpy().copy()
    x = g.normal(9, 8)
    with reference.float_means_double():
        y = model.double().backbone.layers[1].mixer(wide(x))[0]
    stem = "backbone.layers.1.mixer."
    w = {n.removeprefix(stem): v.astype(np.float64) for n, v in g.tensors.items() if n.startswith(stem)}
    agree(numpy_mamba2(x.astype(np.float64), w, G, N, P, minimal)[0], y)
    g.add("mixer", x=x, y=y)
    return g


OPS = [retention_layer, simple_gla_layer, hgrn2_layer, mamba2_layer, mamba2_checkpoint]
