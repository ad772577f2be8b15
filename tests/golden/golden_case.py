# SPDX-License-Identifier: Apache-2.0
"""What makers of golden values share: cases of one op, conversions, and the check of a second computation."""
import math
import platform

import numpy as np
import torch

import reference

torch.set_num_threads(1)
torch.set_grad_enabled(False)


class Golden:
    """Cases of one op: seeded inputs, outputs, flags."""

    def __init__(self, op, seed, reference_name, package, version):
        self.tensors, self.cases = {}, []
        self.rng = np.random.default_rng(seed)
        self.metadata = {
            "op": op, "reference": reference_name, "package": package, "version": version, "seed": str(seed),
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
        }

    def normal(self, *shape, sd=1.0, mean=0.0):
        return (mean + sd * self.rng.standard_normal(shape)).astype(np.float32)

    def uniform(self, low, high, *shape):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def pick(self, values, *shape):
        return self.rng.choice(np.array(values, np.float32), shape)

    def add(self, case, flags=None, **tensors):
        self.cases.append(case)
        for name, value in tensors.items():
            if value is None:
                continue
            value = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
            assert value.dtype.kind in "iu" or np.isfinite(value).all(), (case, name)
            self.tensors[f"{case}/{name}"] = value
        for name, value in (flags or {}).items():
            self.metadata[f"{case}/{name}"] = str(value)

    def encode(self):
        return reference.encode(self.tensors, self.metadata | {"cases": ",".join(self.cases)})


def wide(*arrays):
    """float64 torch tensors with a leading batch dimension of one."""
    out = [None if a is None else torch.from_numpy(a.astype(np.float64))[None] for a in arrays]
    return out[0] if len(out) == 1 else out


def doubles(**arrays):
    return {name: None if a is None else a.astype(np.float64) for name, a in arrays.items()}


def agree(ours, theirs, tolerance=1e-12):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    worst = np.abs(ours - theirs).max() / (np.abs(theirs).max() + 1e-300)
    assert worst <= tolerance, f"reference and numpy recurrence differ by {worst:.3g}"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):  # with the threshold of the references: identity above 20
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))


def f32_unit_rows(x):
    """Rows divided by sqrt(sum x^2 + 1e-6), rounded to float32."""
    x = x.astype(np.float64)
    return (x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)).astype(np.float32)
