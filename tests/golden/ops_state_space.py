# SPDX-License-Identifier: Apache-2.0
"""Golden values of diagonal state-space models, HiPPO systems and small recurrent cells; run by make_golden.py."""
import ast
import importlib.metadata
import types

import numpy as np
import torch

import reference
from golden_case import Golden, agree, doubles, sigmoid, wide

S4 = ("s4-e757cef57d89.tar.gz", "state-spaces/s4", "e757cef57d89")
LRU = ("minimal-LRU-bbd71b1104c3.tar.gz", "NicolasZucchet/minimal-LRU", "bbd71b1104c3")
LMU = ("keras_lmu-0.9.0-*.whl", "keras-lmu", "0.9.0")
MIN_GRU = ("mingru_pytorch-0.2.1-*.whl", "minGRU-pytorch", "0.2.1")
TORCH_VERSION = importlib.metadata.version("torch")


def methods(archive, member, owner, names, **space):
    """Methods of one class of a reference source file, without the class and what it derives from."""
    cls, = [n for n in ast.parse(reference._member(archive, member)).body if isinstance(n, ast.ClassDef) and n.name == owner]
    found = [n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name in names]
    for node in found:
        node.decorator_list.clear()
    exec(compile(ast.fix_missing_locations(ast.Module(found, [])), member, "exec"), space)
    return [space[name] for name in names]


# -- diagonal state-space models --------------------------------------------------------------------------------


def s4d():
    _, layer = reference.functions(S4[0], "models/s4/s4d.py", "S4DKernel", "S4D", given={"DropoutNd": torch.nn.Dropout})
    g = Golden("s4d", 201, "S4D.forward, S4DKernel.forward", *S4[1:])
    for name, T, D, N in [("odd", 13, 5, 6), ("one", 1, 3, 4), ("long", 257, 3, 8), ("pow2", 32, 16, 16)]:
        net = layer(D, d_state=N).double()
        slow = name == "long"
        w = {"D": g.normal(D), "kernel.C": g.normal(D, N // 2, 2),
             "kernel.log_dt": g.uniform(-7, -2, D) if slow else g.uniform(-4, 0, D),
             "kernel.log_A_real": g.uniform(-2, 1, D, N // 2),
             "kernel.A_imag": g.uniform(0, 300 if slow else 20, D, N // 2),
             "output_linear.0.weight": g.normal(2 * D, D, 1, sd=D**-0.5), "output_linear.0.bias": g.normal(2 * D, sd=0.3)}
        net.load_state_dict({n: torch.from_numpy(v) for n, v in doubles(**w).items()}, strict=True)
        u = g.normal(T, D)
        K = net.kernel(L=T)
        y = net(wide(u).transpose(1, 2))[0][0].T

        a = doubles(**w, u=u)
        A = -np.exp(a["kernel.log_A_real"]) + 1j * a["kernel.A_imag"]
        h = np.exp(a["kernel.log_dt"])[:, None]
        C = (a["kernel.C"][..., 0] + 1j * a["kernel.C"][..., 1]) * (np.exp(h * A) - 1) / A
        x, s = np.zeros_like(A), np.empty((T, D))
        for t in range(T):
            x = np.exp(h * A) * x + a["u"][t][:, None]
            s[t] = 2 * (C * x).sum(-1).real + a["D"] * a["u"][t]
        act = s * 0.5 * torch.erfc(torch.from_numpy(-s / 2**0.5)).numpy()
        v, gate = np.split(act @ a["output_linear.0.weight"][:, :, 0].T + a["output_linear.0.bias"], 2, axis=-1)
        agree(v * sigmoid(gate), y, 1e-10)  # the reference convolves by Fourier transforms
        agree(np.stack([2 * (C * np.exp(l * h * A)).sum(-1).real for l in range(T)], -1), K)
        g.add(name, u=u, K=K, s=s, y=y, **w)
    return g


def lru():
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    combine, = reference.functions(LRU[0], "lru/model.py", "binary_operator_diag")
    call, = methods(LRU[0], "lru/model.py", "LRU", ["__call__"], jax=jax, jnp=jnp, binary_operator_diag=jax.vmap(combine),
                    parallel_scan=jax.lax.associative_scan)
    g = Golden("lru", 202, "LRU.__call__ with jax " + jax.__version__, *LRU[1:])
    for name, T, D, N in [("odd", 13, 5, 3), ("one", 1, 3, 5), ("long", 96, 3, 7), ("pow2", 32, 8, 16)]:
        w = {"theta_log": g.normal(N, sd=0.7), "nu_log": g.uniform(-9 if name == "long" else -3, 0.5, N),
             "gamma_log": g.normal(N, sd=0.5), "B_re": g.normal(N, D, sd=0.4), "B_im": g.normal(N, D, sd=0.4),
             "C_re": g.normal(D, N, sd=0.4), "C_im": g.normal(D, N, sd=0.4), "D": g.normal(D)}
        x = g.normal(T, D)
        y = np.asarray(call(types.SimpleNamespace(**{n: jnp.asarray(v) for n, v in doubles(**w).items()}),
                            jnp.asarray(x.astype(np.float64))))

        a, h, out = doubles(**w, x=x), np.zeros(N, complex), []
        turn = np.exp(-np.exp(a["nu_log"]) + 1j * np.exp(a["theta_log"]))
        for t in range(T):
            h = turn * h + np.exp(a["gamma_log"]) * ((a["B_re"] + 1j * a["B_im"]) @ a["x"][t])
            out.append(((a["C_re"] + 1j * a["C_im"]) @ h).real + a["D"] * a["x"][t])
        agree(np.stack(out), y)
        g.add(name, x=x, y=y, h1=np.concatenate([h.real, h.imag]), **w)
    return g


# -- HiPPO ------------------------------------------------------------------------------------------------------


def hippo():
    import scipy
    from scipy.signal import cont2discrete

    transition, = reference.functions(S4[0], "src/models/hippo/hippo.py", "transition")
    g = Golden("hippo", 203, "hippo.py: transition; scipy.signal.cont2discrete of scipy " + scipy.__version__, *S4[1:])
    rules = {"zoh": {"method": "zoh"}, "bilinear": {"method": "bilinear"}, "euler": {"method": "euler"},
             "backward": {"method": "backward_diff"}}
    for measure in ("legs", "legt", "lmu"):
        for N in (1, 2, 5, 16):
            A, B = transition(measure, N)
            if measure == "legt":  # stored for a window of one unit of time; the reference has two
                A, B = 2 * A, 2 * B
            q, step = np.arange(N), 0.37 / N
            R = np.sqrt(2 * q + 1)
            n, k = q[:, None], q[None, :]
            own = {"legs": np.where(n > k, -R[:, None] * R, 0) - np.diag(q + 1),
                   "legt": -R[:, None] * R * np.where(k <= n, 1, (-1.0) ** (k - n)),
                   "lmu": (2 * n + 1) * np.where(n < k, -1, -(-1.0) ** (n - k))}[measure]
            agree(own, A)
            agree((2 * q + 1) * (-1.0) ** q if measure == "lmu" else R, B[:, 0])
            values = {"A": A, "B": B[:, 0], "step": np.array([step])}
            for rule, arguments in rules.items():
                dA, dB, *_ = cont2discrete((A, B, np.eye(N), np.zeros((N, 1))), step, **arguments)
                values |= {"A_" + rule: dA, "B_" + rule: dB[:, 0]}
            agree(A @ values["B_zoh"], (values["A_zoh"] - np.eye(N)) @ B[:, 0], 1e-10)
            g.add(f"{measure}_{N}", **values)
    return g


def torch_as_tensorflow():
    """The few TensorFlow functions that LMUCell calls, on torch."""
    return types.SimpleNamespace(
        constant=lambda x, dtype: torch.tensor(x, dtype=dtype), concat=lambda parts, axis: torch.cat(tuple(parts), axis),
        pad=lambda x, by: torch.nn.functional.pad(x, [n for pair in reversed(by) for n in pair]),
        matmul=lambda a, b, name=None: a @ b, reshape=lambda x, shape: x.reshape(shape),
        expand_dims=lambda x, axis: x.unsqueeze(axis), linalg=types.SimpleNamespace(expm=torch.linalg.matrix_exp),
        nest=types.SimpleNamespace(flatten=list))


def lmu():
    names = ["_gen_AB", "_cont2discrete_zoh", "call"]
    space = {"np": np, "tf": torch_as_tensorflow(), "LMUCell": types.SimpleNamespace()}
    generate, zoh, call = methods(LMU[0], "keras_lmu/layers.py", "LMUCell", names, **space)
    generate.__globals__["LMUCell"]._cont2discrete_zoh = zoh
    g = Golden("lmu", 204, "LMUCell._gen_AB, call; hidden cell tanh(W [m; x] + U h + c)", *LMU[1:])
    # name, T, inputs, H, M, N, theta, memory_to_memory, hidden_to_memory, input_to_hidden, rule
    for name, T, I, H, M, N, theta, mm, hm, ih, rule in [
            ("odd", 13, 3, 7, 2, 5, 6.5, True, True, True, "zoh"), ("one", 1, 2, 3, 2, 4, 3, False, False, False, "zoh"),
            ("long", 96, 2, 5, 3, 16, 40, False, False, True, "zoh"), ("plain", 32, 4, 0, 4, 8, 16, False, False, False, "zoh"),
            ("euler", 40, 3, 4, 2, 4, 30, True, False, False, "euler")]:
        w = {"kernel": g.normal(M, I + H * hm, sd=0.5), "bias": g.normal(M, sd=0.3),
             "recurrent_kernel": g.normal(M, M * N, sd=0.1) if mm else None,
             "hidden_cell.kernel": g.normal(H, M * N + I * ih, sd=0.3) if H else None,
             "hidden_cell.recurrent_kernel": g.normal(H, H, sd=0.3) if H else None,
             "hidden_cell.bias": g.normal(H, sd=0.3) if H else None}
        wd = {n: None if v is None else torch.from_numpy(v.astype(np.float64)) for n, v in w.items()}

        class Cell:
            state_size = H

            def __call__(self, x, h, training):
                z = x @ wd["hidden_cell.kernel"].T + h[0] @ wd["hidden_cell.recurrent_kernel"].T + wd["hidden_cell.bias"]
                return torch.tanh(z), [torch.tanh(z)]

        cell = types.SimpleNamespace(
            memory_d=M, order=N, _init_theta=theta, discretizer=rule, trainable_theta=False, dtype=torch.float64,
            hidden_to_memory=hm, memory_to_memory=mm, input_to_hidden=ih, dropout=0, recurrent_dropout=0,
            kernel=wd["kernel"].T, bias=wd["bias"], recurrent_kernel=wd["recurrent_kernel"].T if mm else None,
            hidden_cell=Cell() if H else None)
        generate(cell)
        x, m0, h0 = g.normal(T, I), g.normal(M * N, sd=0.5), g.normal(max(H, 1), sd=0.5)
        state, y = [wide(m0), wide(h0)] if H else [wide(m0)], []
        for t in range(T):
            out, state = call(cell, wide(x[t]), state)
            y.append(out[0].numpy())

        a = {n: None if v is None else v.numpy() for n, v in wd.items()}
        m, h, own = m0.astype(np.float64).reshape(M, N), h0.astype(np.float64), []
        A, B = cell.A.numpy().T, cell.B.numpy()[0]
        for t in range(T):
            u = a["kernel"] @ np.concatenate([x[t], h] if hm else [x[t]]) + a["bias"]
            u = u + a["recurrent_kernel"] @ m.ravel() if mm else u
            m = m @ A.T + u[:, None] * B
            if H:
                h = np.tanh(a["hidden_cell.kernel"] @ np.concatenate([m.ravel(), x[t]] if ih else [m.ravel()])
                            + a["hidden_cell.recurrent_kernel"] @ h + a["hidden_cell.bias"])
            own.append(h if H else m.ravel())
        agree(np.stack(own), np.stack(y))
        flags = {"order": N, "theta": theta, "memory_to_memory": int(mm), "hidden_to_memory": int(hm),
                 "input_to_hidden": int(ih), "rule": rule}
        g.add(name, flags, x=x, m0=m0, h0=h0 if H else None, A=A, B=B, y=np.stack(y), m1=state[0][0],
              h1=state[1][0] if H else None, **w)
    return g


# -- recurrent cells --------------------------------------------------------------------------------------------


def gru():
    g = Golden("gru", 205, "torch.nn.GRU, one layer, one direction", "torch", TORCH_VERSION)
    for name, T, I, H, warm in [("odd", 13, 5, 3, True), ("one", 1, 3, 5, True), ("long", 96, 3, 5, True),
                                ("pow2", 32, 8, 16, False)]:
        saturated = name == "long"
        x = g.normal(T, I, sd=3 if saturated else 1)
        w = {"weight_ih_l0": g.normal(3 * H, I, sd=8 if saturated else 0.5), "weight_hh_l0": g.normal(3 * H, H, sd=0.4),
             "bias_ih_l0": g.normal(3 * H, sd=0.5), "bias_hh_l0": g.normal(3 * H, sd=0.5)}
        h0 = g.normal(H, sd=0.5) if warm else np.zeros(H, np.float32)
        net = torch.nn.GRU(I, H).double()
        wd = doubles(**w)
        net.load_state_dict({n: torch.from_numpy(v) for n, v in wd.items()}, strict=True)
        y, h1 = net(torch.from_numpy(x.astype(np.float64)), wide(h0))

        h, out = h0.astype(np.float64), []
        for t in range(T):
            pr, pz, pn = np.split(wd["weight_ih_l0"] @ x[t].astype(np.float64) + wd["bias_ih_l0"], 3)
            ar, az, an = np.split(wd["weight_hh_l0"] @ h + wd["bias_hh_l0"], 3)
            z = sigmoid(pz + az)
            h = (1 - z) * np.tanh(pn + sigmoid(pr + ar) * an) + z * h
            out.append(h)
        agree(np.stack(out), y)
        g.add(name, x=x, h0=h0, y=y, h1=h1[0], **w)
    return g


def min_gru():
    net_type, *_ = reference.functions(MIN_GRU[0], "minGRU_pytorch/minGRU.py", "minGRU", "exists", "default", "g", "log_g",
                                       "heinsen_associative_scan_log")
    g = Golden("min_gru", 206, "minGRU.forward, token by token", *MIN_GRU[1:])
    for name, T, D, factor in [("odd", 13, 5, 1), ("one", 1, 3, 1), ("long", 96, 6, 1), ("wide", 17, 4, 2.5), ("pow2", 32, 16, 1)]:
        E = int(D * factor)
        net = net_type(D, expansion_factor=factor).double()
        w = {"to_hidden_and_gate.weight": g.normal(2 * E, D, sd=6 if name == "long" else 0.7),
             "to_out.weight": g.normal(D, E, sd=0.4) if factor != 1 else None}
        wd = doubles(**w)
        net.load_state_dict({n: torch.from_numpy(v) for n, v in wd.items() if v is not None}, strict=True)
        x, h0 = g.normal(T, D), np.abs(g.normal(E)) + np.float32(0.1)
        h, y = wide(h0)[:, None], []
        for t in range(T):
            out, h = net(wide(x)[:, t:t + 1], h, return_next_prev_hidden=True)
            y.append(out[0, 0].numpy())
        parallel = net(wide(x), wide(h0)[:, None])[0]

        own, s = [], h0.astype(np.float64)
        for t in range(T):
            v, k = np.split(wd["to_hidden_and_gate.weight"] @ x[t].astype(np.float64), 2)
            z = sigmoid(k)
            s = (1 - z) * s + z * np.where(v >= 0, v + 0.5, sigmoid(v))
            own.append(s if wd["to_out.weight"] is None else wd["to_out.weight"] @ s)
        agree(np.stack(own), np.stack(y))
        agree(parallel, np.stack(y), 1e-11)
        g.add(name, x=x, h0=h0, y=np.stack(y), h1=h[0, 0], **w)
    return g


OPS = [s4d, lru, hippo, lmu, gru, min_gru]
