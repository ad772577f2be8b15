#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times mneme-bench and its peers on the same cases, alternately: measure.py BENCH [--json FILE] [FILTER]

Round by round each case is timed by mneme-bench, then by every peer, each peer a process that lives through the run,
so that what the machine does meanwhile meets all of them. The packages are those of the Python that runs this; a peer
whose package is missing is left out. README.md says what each computes.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import problems

PEERS = ("torch", "onnxruntime", "faiss")
HERE = pathlib.Path(__file__).resolve().parent
REPETITIONS = 3   # in a round


class Peer:
    def __init__(self, name, threads):
        self.name = name
        # Pools spin for some tenths of a millisecond: no spinning would cost each parallel loop a call of the system,
        # more would take a processor from the one measured next.
        surroundings = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads),
                        "OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "100000"}
        self.process = subprocess.Popen([sys.executable, HERE / "worker.py", name, str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings)
        self.version = self._answer().get("version")

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def ask(self, case, seconds, repetitions):
        if self.process.poll() is not None:
            return {}
        try:
            print(json.dumps({"case": case, "seconds": seconds, "repetitions": repetitions}),
                  file=self.process.stdin, flush=True)
            return self._answer()
        except BrokenPipeError:
            return {}


class Bench:
    def __init__(self, path):
        self.path = path

    def _run(self, *arguments):
        return subprocess.run([self.path, *arguments], check=True, text=True, capture_output=True).stdout

    def cases(self):
        """(op/shape/mode, threads)"""
        names = self._run("--benchmark_list_tests").splitlines()
        return [(m[1], int(m[2])) for m in (re.match(r"(.*)/threads:(\d+)/kernel(/|$)", name) for name in names) if m]

    def measure(self, case, threads, seconds):
        """The whole result; only one case in it."""
        name = re.sub(r"[.+*?()\[\]{}^$|\\]", lambda m: f"[{m[0]}]", f"{case}/threads:{threads}/")
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            self._run(f"--benchmark_filter=^{name}(kernel|plain)", f"--benchmark_min_time={seconds}",
                      f"--benchmark_repetitions={REPETITIONS}", f"--benchmark_out={file.name}",
                      "--benchmark_out_format=json")
            return json.loads(pathlib.Path(file.name).read_text(encoding="utf-8"))


def progress(text):
    print(text, file=sys.stderr, flush=True)


def measured(bench, peers, case, threads, args):
    """[entries] of ours and the peers'; none if no peer has the op."""
    found, context = [], {}
    for round_ in range(args.rounds):
        answers = {who: times for peer in peers
                   for who, times in peer.ask(case, args.seconds, REPETITIONS).items()}
        if not answers:
            return [], {}
        ours = bench.measure(case, threads, args.seconds)
        context = ours["context"]
        found += [b for b in ours["benchmarks"] if b.get("run_type") != "aggregate"]
        for who, times in answers.items():
            if isinstance(times, str):
                if round_ == 0:
                    progress(f"{case}: {who} is left out: {times}")
                continue
            found += [{"name": f"{case}/threads:{threads}/{who}", "real_time": real, "cpu_time": cpu,
                       "time_unit": "ns"} for real, cpu in times]
    progress(f"{case}/threads:{threads}: {', '.join(answers)}")
    return found, context


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("bench", help="path of mneme-bench")
    ap.add_argument("filter", nargs="?", default=".", help="regular expression over op/shape/mode/threads:n")
    ap.add_argument("--json", help="write all samples there, for ../compare.py")
    ap.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    ap.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=0.03, help="of a repetition")
    args = ap.parse_args()

    bench, benchmarks, context = Bench(args.bench), [], {}
    cases = [(case, threads) for case, threads in bench.cases()
             if threads in args.threads and problems.known(case)
             and re.search(args.filter, f"{case}/threads:{threads}/")]
    versions = {}
    for threads in args.threads:
        peers = [Peer(name, threads) for name in args.peers]
        versions.update({peer.name: peer.version for peer in peers if peer.version})
        for missing in (peer.name for peer in peers if not peer.version):
            progress(f"no {missing}: it is left out")
        peers = [peer for peer in peers if peer.version]
        for case in (c for c, t in cases if t == threads):
            found, machine = measured(bench, peers, case, threads, args)
            benchmarks += found
            context = context or machine
        for peer in peers:
            peer.process.stdin.close()
            peer.process.wait()
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(
            {"context": {**context, "by_turns": True, "peers": versions}, "benchmarks": benchmarks},
            indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
