# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/*.safetensors from public reference implementations; see README.md.

    GOLDEN_SRC=folder python make_golden.py [--check] [op ...]

Every op runs the reference in float64 on inputs that are exact in float32, then asserts that a separate numpy
recurrence agrees to 1e-12 of the largest value, so that a mistaken convention cannot pass unseen. The makers stand in
ops_*.py, a module per family: a function per op, all listed in its OPS.
"""
import argparse
import importlib
import pathlib
import sys

import numpy as np
from safetensors import safe_open


def same(path, data):
    """Whether a stored file holds the values just made; the last bits of float64 sums may differ between processors."""

    def close(a, b):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return np.abs(a - b).max() <= 1e-12 * (np.abs(b).max() + 1) if a.dtype == np.float64 else a.tobytes() == b.tobytes()

    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    try:
        with safe_open(path, "np") as old, safe_open(temporary, "np") as new:
            if set(old.keys()) != set(new.keys()):
                return False
            return all(close(old.get_tensor(n), new.get_tensor(n)) for n in new.keys())
    finally:
        temporary.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the stored files, write nothing")
    parser.add_argument("ops", nargs="*", metavar="op", help="default: all")
    chosen = parser.parse_args()
    here = pathlib.Path(__file__).parent
    modules = [importlib.import_module(path.stem) for path in sorted(here.glob("ops_*.py"))]
    makers = {make.__name__: make for module in modules for make in module.OPS}
    if unknown := set(chosen.ops) - set(makers):
        parser.error(f"no such op: {', '.join(sorted(unknown))}")
    bad = 0
    for make in [makers[op] for op in chosen.ops] or makers.values():
        path = here / (make.__name__ + ".safetensors")
        golden = make()
        data = golden.encode()
        if chosen.check:
            good = same(path, data)
            bad += not good
            print(f"{path.name}: {'same values' if good else 'DIFFERENT'}")
        else:
            path.write_bytes(data)
            with safe_open(path, "np") as back:  # the official reader accepts it and sees the same bytes
                assert set(back.keys()) == set(golden.tensors)
                assert all(back.get_tensor(n).tobytes() == v.tobytes() for n, v in golden.tensors.items())
            print(f"{path.name}: {len(golden.cases)} cases, {len(data)} bytes")
    return bad


if __name__ == "__main__":
    sys.exit(main())
