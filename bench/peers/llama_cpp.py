# SPDX-License-Identifier: Apache-2.0
"""tokens/s of llama.cpp (llama-cpp-python) and of mneme-stream, same GGUF.

Both are run alternately in the same session, so that the machine's moods hit
both; every figure is a median over --repeats with its min..max. See README.md.
"""

import pathlib
import sys

# This file is named like the package it measures: it must not find itself.
_HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p).resolve() != _HERE]

import argparse
import ctypes
import importlib.metadata
import json
import os
import statistics
import subprocess
import tempfile
import time

import llama_cpp as lib


class Llama:
    """llama.cpp through its C interface: no Python work inside the clock."""

    def __init__(self, path, context, verbose=False):
        if not verbose:
            self._quiet = lib.llama_log_callback(lambda *_: None)
            lib.llama_log_set(self._quiet, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self._model = lib.llama_model_load_from_file(
            os.fsencode(path), lib.llama_model_default_params())
        if not self._model:
            sys.exit(f"llama.cpp cannot read {path}")
        p = lib.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch = context, 512, 512
        self._ctx = lib.llama_init_from_model(self._model, p)
        self._vocab = lib.llama_model_get_vocab(self._model)

    def threads(self, n):
        lib.llama_set_n_threads(self._ctx, n, n)

    def encode(self, text, special=False):
        data = text.encode()
        out = (lib.llama_token * (len(data) + 8))()
        n = lib.llama_tokenize(self._vocab, data, len(data), out, len(out),
                               False, special)
        return list(out[:n])

    def clear(self):
        lib.llama_memory_clear(lib.llama_get_memory(self._ctx), True)

    def feed(self, ids, start, every):
        """Decodes ids at positions start...; logits of each, or of the last."""
        n = len(ids)
        b = lib.llama_batch_init(n, 0, 1)
        b.n_tokens = n
        for i, t in enumerate(ids):
            b.token[i], b.pos[i], b.n_seq_id[i] = t, start + i, 1
            b.seq_id[i][0], b.logits[i] = 0, int(every or i == n - 1)
        t0 = time.perf_counter()
        rc = lib.llama_decode(self._ctx, b)
        lib.llama_synchronize(self._ctx)
        row = lib.llama_get_logits_ith(self._ctx, -1)
        t1 = time.perf_counter()
        lib.llama_batch_free(b)
        if rc or not row:
            sys.exit(f"llama_decode: {rc}")
        return t1 - t0

    def measure(self, ids, prefill, empty=64):
        """Teacher-forced on ids: rates in tokens/s."""
        out = {}
        self.clear()
        s = sum(self.feed([t], i, True) for i, t in enumerate(ids[:empty]))
        out["decode_empty"] = len(ids[:empty]) / s
        self.clear()
        out["prefill_every"] = prefill / self.feed(ids[:prefill], 0, True)
        self.clear()
        out["prefill_last"] = prefill / self.feed(ids[:prefill], 0, False)
        rest = ids[prefill:]
        s = sum(self.feed([t], prefill + i, True) for i, t in enumerate(rest))
        out["decode_after"] = len(rest) / s
        return out


def mneme(args, threads):
    with tempfile.TemporaryDirectory() as d:
        out = pathlib.Path(d) / "out.json"
        subprocess.run(
            [args.mneme, "--model", args.model, "--text", args.text,
             "--tokens", str(args.tokens), "--policy", "full",
             "--threads", str(threads),
             "--json", str(out)], check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())["runs"][0]


def load():
    return " ".join(f"{x:.2f}" for x in os.getloadavg())


def cell(values):
    if not values:
        return f"{'-':>22}"
    m = statistics.median(values)
    return f"{m:7.1f} ({min(values):.1f}..{max(values):.1f})".rjust(22)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True, help="the GGUF")
    ap.add_argument("--mneme", help="path of mneme-stream; without: llama.cpp only")
    ap.add_argument("--text", default="/usr/share/common-licenses/GPL-3")
    ap.add_argument("--tokens", type=int, default=1024,
                    help="prefill is min(512, tokens / 2), the rest is decoded")
    ap.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    ap.add_argument("--repeats", type=int, default=7)
    ap.add_argument("--json", help="write all samples there, for ../compare.py")
    ap.add_argument("--verbose", action="store_true", help="llama.cpp's own log")
    args = ap.parse_args()

    llama = Llama(args.model, max(args.tokens, 1024), args.verbose)
    ids = llama.encode(pathlib.Path(args.text).read_text(encoding="utf-8"))
    if len(ids) < args.tokens:
        sys.exit(f"{args.text} has {len(ids)} tokens only")
    ids = ids[:args.tokens]
    prefill = min(512, args.tokens // 2)
    system = lib.llama_print_system_info().decode().strip()
    version = importlib.metadata.version("llama-cpp-python")

    peer = {t: {} for t in args.threads}
    own = {t: {} for t in args.threads}
    before = load()
    for round_ in range(-1, args.repeats):   # round -1 warms up, not counted
        for t in args.threads:
            llama.threads(t)
            a = llama.measure(ids, prefill)
            b = {}
            if args.mneme:
                run = mneme(args, t)
                b = {"prefill": run["prefill_tokens_per_s"],
                     "decode": run["decode_tokens_per_s"]}
                nll = run["nll"]
            if round_ < 0:
                continue
            for into, got in ((peer[t], a), (own[t], b)):
                for k, v in got.items():
                    into.setdefault(k, []).append(v)
            print(f"round {round_ + 1} of {args.repeats}, {t} thread(s)",
                  file=sys.stderr)

    print(f"llama-cpp-python {version}; {system}")
    print(f"{pathlib.Path(args.model).name}, {args.tokens} tokens, "
          f"load average before {before}, after {load()}")
    if args.mneme:
        print(f"mneme nll {nll:.6f} nats/token")
    print(f"tokens/s, median (min..max) of {args.repeats}\n")
    print(f"{'threads':>7}  {'what':<34}{'llama.cpp':>22}{'mneme':>22}{'ratio':>8}"
          f"{'ratio min..max':>17}")
    rows = [("prefill_last", "prefill", f"prefill {prefill}, last logits only"),
            ("prefill_every", "prefill", f"prefill {prefill}, logits of all"),
            ("decode_empty", None, "decode from empty (64)"),
            ("decode_after", "decode",
             f"decode after {prefill} ({args.tokens - prefill})")]
    for t in args.threads:
        for theirs, ours, name in rows:
            a, b = peer[t][theirs], own[t].get(ours, [])
            ratio = span = "-"
            if b:   # per round: both were measured within seconds
                r = [y / x for x, y in zip(a, b)]
                ratio = f"{statistics.median(r):.2f}"
                span = f"{min(r):.2f}..{max(r):.2f}"
            print(f"{t:>7}  {name:<34}{cell(a)}{cell(b)}{ratio:>8}{span:>17}")
    if args.json:
        # Time per token. mneme-stream forms the logits of all positions, as prefill_every does.
        samples = [(t, what.replace("_", "/"), who, rate)
                   for t in args.threads
                   for who, rates in (("llama.cpp", peer[t]),
                                      ("kernel", {"prefill_every": own[t].get("prefill", []),
                                                  "decode_after": own[t].get("decode", [])}))
                   for what, all_rates in rates.items() for rate in all_rates]
        model = pathlib.Path(args.model).stem
        pathlib.Path(args.json).write_text(json.dumps(
            {"context": {"llama_cpp_python": version, "system": system, "load": before,
                         "tokens": args.tokens, "prefill": prefill},
             "benchmarks": [{"name": f"mneme-stream/{model}/{what}/threads:{t}/{who}",
                             "real_time": 1e6 / rate, "time_unit": "us"}
                            for t, what, who, rate in samples]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
