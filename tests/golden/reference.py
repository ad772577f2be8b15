# SPDX-License-Identifier: Apache-2.0
"""Runs functions of published reference packages in float64, straight from their archives.

`functions` picks named top-level definitions out of one source file of a wheel or sdist. The rest of the package
is never imported (much of it needs a GPU compiler at import time). Casts to single precision inside the reference
are turned into casts to double precision; nothing else changes. No reference text is stored in this repository.

The folder named by the environment variable GOLDEN_SRC holds the archives, see README.md.
"""
import ast
import contextlib
import fnmatch
import json
import os
import pathlib
import struct
import tarfile
import zipfile

import numpy as np

IMPORTABLE = {"__future__", "einops", "functools", "math", "numpy", "scipy", "torch", "typing"}


def _member(archive_glob, member):
    """Source text of `member` (path inside the package) of the one archive that matches the glob."""
    if "GOLDEN_SRC" not in os.environ:
        raise SystemExit("GOLDEN_SRC must name the folder with the reference archives, see README.md")
    folder = pathlib.Path(os.environ["GOLDEN_SRC"])
    found = sorted(p for p in folder.iterdir() if fnmatch.fnmatch(p.name, archive_glob))
    if len(found) != 1:
        raise FileNotFoundError(f"{archive_glob}: {len(found)} archives match in $GOLDEN_SRC, need exactly one")
    if found[0].suffix == ".whl":
        with zipfile.ZipFile(found[0]) as wheel:
            return wheel.read(member).decode("utf-8")
    with tarfile.open(found[0]) as sdist:
        for info in sdist:
            if info.name.partition("/")[2] == member:
                return sdist.extractfile(info).read().decode("utf-8")
    raise FileNotFoundError(f"{member} is not in {found[0].name}")


class _Double(ast.NodeTransformer):
    """x.float() becomes x.double(); torch.float and torch.float32 become torch.float64."""

    def visit_Attribute(self, node):
        self.generic_visit(node)
        of_torch = isinstance(node.value, ast.Name) and node.value.id == "torch"
        if of_torch and node.attr in ("float", "float32"):
            return ast.copy_location(ast.Attribute(node.value, "float64", node.ctx), node)
        if not of_torch and node.attr == "float":
            return ast.copy_location(ast.Attribute(node.value, "double", node.ctx), node)
        return node


def functions(archive_glob, member, *names, given=None):
    """The definitions `names` of a reference source file, in order, computing in float64; `given`: what they use."""

    def keep(node):
        if isinstance(node, ast.Import):
            return all(a.name.partition(".")[0] in IMPORTABLE for a in node.names)
        if isinstance(node, ast.ImportFrom):
            return node.level == 0 and node.module.partition(".")[0] in IMPORTABLE
        if isinstance(node, ast.Assign):
            return isinstance(node.targets[0], ast.Name) and node.targets[0].id in names
        return isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names

    module = ast.parse(_member(archive_glob, member))
    module.body = [node for node in module.body if keep(node)]
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list.clear()
    space = {"__name__": "golden_reference"} | (given or {})
    exec(compile(ast.fix_missing_locations(_Double().visit(module)), member, "exec"), space)
    return [space[name] for name in names]


@contextlib.contextmanager
def float_means_double():
    """For references that are imported, not cut out: Tensor.float() and .to(torch.float32) widen, not narrow."""
    import torch

    narrow, convert = torch.Tensor.float, torch.Tensor.to
    torch.Tensor.float = torch.Tensor.double
    torch.Tensor.to = lambda x, *to, **named: convert(x, *(torch.float64 if t is torch.float32 else t for t in to), **named)
    try:
        yield
    finally:
        torch.Tensor.float, torch.Tensor.to = narrow, convert


_CODE = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8"}


def encode(tensors, metadata):
    """Bytes of a safetensors file. The official writer orders metadata by a random hash; this one is reproducible."""
    header, chunks, end = {"__metadata__": dict(sorted(metadata.items()))}, [], 0
    # Widest type first keeps every tensor aligned to its element size.
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": _CODE[value.dtype.name], "shape": list(value.shape), "data_offsets": [end, end + len(raw)]}
        end += len(raw)
        chunks.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)
