# SPDX-License-Identifier: Apache-2.0
"""Writes expected.json: see README.md. About 12 minutes on one thread."""

import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import sys
import time

import torch

from cases import CASES
from model import Model, chat

HERE = pathlib.Path(__file__).resolve().parent

# The full cache, (text, tokens).
FULL = [("gpl3", 512), ("gpl3", 1024), ("gpl3", 2048),
        ("second", 512), ("second", 2048)]

# Runs in lockstep on the same tokens: (text, tokens) -> (policy, capacity, store).
RUNS = {
    ("gpl3", 512): [
        ("full", 0, "f64"),
        *[(p, c, "f64") for c in (32, 128)
          for p in ("window", "sinks", "h2o", "tova")]],
    ("second", 1024): [
        ("full", 0, "f64"),
        *[(p, 64, "f64") for p in ("window", "sinks", "h2o", "tova")]],
}

# A rounded store jumps where two computations round differently, so that
# float32 and float64 part ways: few tokens, to be compared in float64. They go
# to a file of their own (--part q8_0).
STORE_RUNS = {
    ("gpl3", 96): [
        ("full", 0, "q8_0"),
        *[(p, 32, "q8_0") for p in ("window", "sinks", "h2o", "tova")]],
}

# Figures of an earlier, independent run: (text, tokens) -> nll.
KNOWN = {("gpl3", 1024): 2.959010, ("gpl3", 2048): 2.981407}

PROMPTS = [("plain", "The history of memory begins"),
           ("chat", chat("What is memory?"))]

START = time.time()


def say(*words):
    print(f"{time.time() - START:7.1f}s", *words, file=sys.stderr, flush=True)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def in_one_go(model, ids, policy, capacity, store):
    """The same figure by a masked batched forward, where that is possible."""
    first = {"full": None, "window": 0, "sinks": min(4, capacity - 1)}
    if policy not in first:
        return None
    if policy == "full":
        return model.nll(ids, None, store)
    keep = first[policy]
    # before the new entry: `keep` sinks and the newest capacity - keep others
    return model.nll(ids, lambda i, j: (j < keep) | (i - j <= capacity - keep),
                     store)


def policies(model, texts, runs):
    out = []
    for (name, n), specs in runs.items():
        say("policies", name, n, len(specs), "streams")
        ids = texts[name][:n]
        streams = model.streams(specs)
        nll = model.nll_streams(ids, streams, lambda p: say("  token", p))
        for spec, value, caches in zip(specs, nll, streams):
            policy, capacity, store = spec
            check = in_one_go(model, ids, *spec)
            say(" ", *spec, f"{value:.9f}", check and f"{check:.9f}")
            assert check is None or abs(check - value) < 1e-9
            run = {"text": name, "tokens": n, "policy": policy,
                   "store": store, "capacity": capacity, "nll": round(value, 9)}
            if policy in ("h2o", "tova"):
                run["min_margin"] = float(
                    f"{min(c.margin for c in caches):.3g}")
                run["live"] = {str(layer): caches[layer].pos.tolist()
                               for layer in (0, len(caches) // 2)}
            out.append(run)
    return out


def greedy(model, name, prompt, steps=32):
    prompt_ids = model.text.encode(prompt, parse_special=True)
    ids = list(prompt_ids)
    caches = model.streams([("full", 0, "f64")])
    for pos, token in enumerate(ids):
        logits = model.step([token], pos, caches)[0]
    best, gap = [], []
    for _ in range(steps):
        top = torch.topk(logits, 2)
        best.append(top.indices.tolist())
        gap.append(round((top.values[0] - top.values[1]).item(), 9))
        logits = model.step([best[-1][0]], len(ids), caches)[0]
        ids.append(best[-1][0])
    new = ids[len(prompt_ids):]
    # once more, teacher-forced in one go: the same pairs and gaps
    hidden = model.forward(ids)[len(prompt_ids) - 1:-1]
    top = torch.topk(model.logits(hidden), 2)
    assert top.indices.tolist() == best
    again = top.values[:, 0] - top.values[:, 1]
    assert (again - torch.tensor(gap, dtype=top.values.dtype)).abs().max() < 1e-8
    say("greedy", name, repr(model.text.decode(new)))
    return {"name": name, "prompt": prompt, "parse_special": True,
            "prompt_ids": prompt_ids, "ids": new,
            "text": model.text.decode(new), "best": best, "gap": gap}


def dump(value, depth=0):
    """JSON with one line per innermost list or flat object."""
    flat = json.dumps(value, ensure_ascii=True)
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)) or depth >= 2 or not any(
            isinstance(v, (dict, list)) for v in items):
        return flat
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{json.dumps(k)}: {dump(v, depth + 1)}"
                for k, v in value.items()]
        return "{\n" + ",\n".join(pad + r for r in rows) + f"\n{' ' * depth}}}"
    rows = [dump(v, depth + 1) for v in value]
    return "[\n" + ",\n".join(pad + r for r in rows) + f"\n{' ' * depth}]"


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--gguf", required=True)
    ap.add_argument("--gpl3", default="/usr/share/common-licenses/GPL-3")
    ap.add_argument("--second", default=HERE / "second_text.txt")
    ap.add_argument("--part", choices=("all", "q8_0"), default="all")
    ap.add_argument("--out")
    ap.add_argument("--threads", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    out = pathlib.Path(args.out or HERE / (
        "expected.json" if args.part == "all" else "expected_q8_0.json"))

    gguf_bytes = pathlib.Path(args.gguf).read_bytes()
    model = Model(args.gguf)
    say("model read")

    texts, about = {}, {}
    for name, path in (("gpl3", args.gpl3), ("second", args.second)):
        data = pathlib.Path(path).read_bytes()
        texts[name] = model.text.encode(data.decode("utf-8"))
        about[name] = {"bytes": len(data), "sha256": sha256(data),
                       "tokens": len(texts[name]),
                       "ids_sha256": sha256(
                           " ".join(map(str, texts[name])).encode()),
                       "first_ids": texts[name][:2048]}

    result = {
        "format": 1,
        "made_with": {"python": platform.python_version(),
                      **{p: importlib.metadata.version(p)
                         for p in ("torch", "numpy", "gguf", "tokenizers")}},
        "model": {"file": pathlib.Path(args.gguf).name,
                  "bytes": len(gguf_bytes), "sha256": sha256(gguf_bytes)}}
    if args.part == "q8_0":
        result["policies"] = policies(model, texts, STORE_RUNS)
        out.write_text(dump(result) + "\n", encoding="ascii")
        return
    result |= {
        "texts": about,
        "tokenizer": [{"text": t,
                       "ids_parse_special": model.text.encode(t, True),
                       "ids_plain": model.text.encode(t)} for t in CASES],
        "greedy": [greedy(model, *p) for p in PROMPTS],
        "full": [],
    }
    for name, n in FULL:
        nll = model.nll(texts[name][:n])
        say("full", name, n, f"{nll:.9f}")
        assert abs(KNOWN.get((name, n), nll) - nll) < 1e-6
        result["full"].append({"text": name, "tokens": n, "nll": round(nll, 9)})
    result["policies"] = policies(model, texts, RUNS)
    out.write_text(dump(result) + "\n", encoding="ascii")
    say("written", args.out)


if __name__ == "__main__":
    main()
