#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tokens/s of mneme-stream, exact and fast, and of builds of llama.cpp, on the same GGUF, alternately.

Every figure is a median over --repeats rounds with its min..max; a round runs all of them. See README.md.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = ("exact", "fast")
ROWS = {"prefill/last": "prefill {prefill}, last logits only", "prefill/every": "prefill {prefill}, logits of all",
        "decode/empty": "decode from empty (64)", "decode/after": "decode after {prefill} ({rest})"}


class Build:
    """llama.cpp as one Python has it, in a process of its own."""

    def __init__(self, name, python, args):
        self.who = f"llama.cpp {name}"
        self.process = subprocess.Popen(
            [python, HERE / "peer_llama.py", args.model, args.text, str(args.tokens), str(args.prefill)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.version = self._answer()["version"]

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.who}: ended with {self.process.wait()}")
        return json.loads(line)

    def measure(self, threads):
        print(threads, file=self.process.stdin, flush=True)
        return self._answer()


def mneme(args, precision, threads):
    """Seconds per token, and nats per token."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run(
            [args.mneme, "--model", args.model, "--text", args.text, "--tokens", str(args.tokens), "--policy", "full",
             "--precision", precision, "--threads", str(threads), "--json", out.name],
            check=True, stdout=subprocess.DEVNULL)
        run = json.loads(pathlib.Path(out.name).read_text(encoding="utf-8"))["runs"][0]
    # It forms the logits of all positions.
    seconds = {"prefill/every": 1 / run["prefill_tokens_per_s"], "decode/after": 1 / run["decode_tokens_per_s"]}
    return seconds, run["nll"]


def load():
    return " ".join(f"{x:.2f}" for x in os.getloadavg())


def rates(seconds):
    """Median and span in tokens/s."""
    r = [1 / s for s in seconds]
    return f"{statistics.median(r):.1f} ({min(r):.1f}..{max(r):.1f})"


def ratio(theirs, ours):
    """Round by round: both were measured within seconds."""
    r = [a / b for a, b in zip(theirs, ours)]
    return f"{statistics.median(r):.2f} ({min(r):.2f}..{max(r):.2f})"


def show(samples, args):
    """samples[(threads, who, what)]: seconds per token, one of each round."""
    print(f"{'threads':>7}  {'what':<34}{'who':<22}{'tokens/s':>24}" +
          "".join(f"{'mneme ' + p + ' x':>22}" for p in PRECISIONS))
    for threads in args.threads:
        for what, text in ROWS.items():
            for (t, who, w), seconds in samples.items():
                if (t, w) != (threads, what):
                    continue
                ours = [samples.get((t, f"mneme {p}", w)) for p in PRECISIONS if not who.startswith("mneme")]
                ratios = "".join(f"{ratio(seconds, o) if o else '-':>22}" for o in ours)
                print(f"{t:>7}  {text.format(prefill=args.prefill, rest=args.tokens - args.prefill):<34}{who:<22}"
                      f"{rates(seconds):>24}{ratios}")


def entries(samples, model):
    """For compare.py: what is fast is a shape of its own, with the same peers."""
    for (threads, who, what), seconds in samples.items():
        for precision, suffix in (("exact", ""), ("fast", ",fast")):
            name = "kernel" if who == f"mneme {precision}" else who
            if name.startswith("mneme"):
                continue
            for s in seconds:
                yield {"name": f"mneme-stream/{model}{suffix}/{what}/threads:{threads}/{name}", "real_time": s * 1e6,
                       "time_unit": "us"}


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True, help="the GGUF")
    ap.add_argument("--mneme", help="path of mneme-stream; without: llama.cpp only")
    ap.add_argument("--llama", nargs="*", default=[], metavar="NAME=PYTHON",
                    help="builds of llama-cpp-python, each by the Python that has it: 'clang=llama-clang/bin/python'")
    ap.add_argument("--text", default="/usr/share/common-licenses/GPL-3")
    ap.add_argument("--tokens", type=int, default=1024, help="prefill is min(512, tokens / 2), the rest is decoded")
    ap.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    ap.add_argument("--repeats", type=int, default=7)
    ap.add_argument("--json", help="write all samples there, for ../compare.py")
    args = ap.parse_args()
    args.prefill = min(512, args.tokens // 2)

    builds = [Build(*b.split("=", 1), args) for b in args.llama]
    samples, nll, before = {}, {}, load()
    for round_ in range(-1, args.repeats):   # round -1 warms up, not counted
        for threads in args.threads:
            got = {b.who: b.measure(threads) for b in builds}
            if args.mneme:
                for p in PRECISIONS:
                    got[f"mneme {p}"], nll[p] = mneme(args, p, threads)
            if round_ < 0:
                continue
            for who, seconds in got.items():
                for what, s in seconds.items():
                    samples.setdefault((threads, who, what), []).append(s)
            print(f"round {round_ + 1} of {args.repeats}, {threads} thread(s)", file=sys.stderr)

    versions = {b.who: b.version for b in builds}
    for who, version in versions.items():
        print(f"{who}: {version}")
    for precision, value in nll.items():
        print(f"mneme {precision}: {value:.6f} nats/token")
    print(f"{pathlib.Path(args.model).name}, {args.tokens} tokens, load average before {before}, after {load()}")
    show(samples, args)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(
            {"context": {"by_turns": True, "peers": versions, "nll": nll, "tokens": args.tokens,
                         "prefill": args.prefill},
             "benchmarks": list(entries(samples, pathlib.Path(args.model).stem))}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
