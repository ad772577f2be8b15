# SPDX-License-Identifier: Apache-2.0
"""One peer in a process of its own, with one number of threads: worker.py PEER THREADS

Reads lines of JSON, {"case": "gla/16x128x128/decode/hot", "seconds": 0.05, "repetitions": 3}, and answers each with
{"contender": [[nanoseconds of a call, the processor's], ...] or "why it is left out"}; {} where the peer
has no such op.
A case is drawn and checked when it is first asked for and kept until the next.
"""

import importlib
import json
import sys
import time

import numpy as np

import problems

WARM_UPS = 3
MOST_SECONDS = 2   # of one run


class Contender:
    def __init__(self, problem, run):
        self.problem, self.run, self.next = problem, run, 0
        self.calls = getattr(run, "calls", 1)   # that one run makes, one after the other
        self.error = self.disagreement()
        if not self.error and (seconds := self.repeat(1)[0] / 1e9) > MOST_SECONDS:
            self.error = f"takes {seconds:.1f} s"

    def disagreement(self):
        given, expected = self.run(0), self.problem.expected
        given = np.asarray(given.float() if hasattr(given, "float") else given)
        given = given.astype(float).reshape(-1, *expected.shape[1:])[:len(expected)]
        off, largest = np.abs(given - expected).max(), np.abs(expected).max()
        return None if off <= self.problem.tolerance * largest else f"off by {off:.3g}, the largest is {largest:.3g}"

    def repeat(self, n):
        start, processor = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(n):
            self.run(self.next)
            self.next = self.next + 1 if self.next + 1 < self.problem.states else 0
        return time.perf_counter_ns() - start, time.process_time_ns() - processor

    def measure(self, seconds, repetitions):
        for _ in range(WARM_UPS):
            once, _ = self.repeat(1)
            if once > seconds * 1e9:
                break
        n = max(1, round(seconds * 1e9 / once))
        return [[t / n / self.calls for t in self.repeat(n)] for _ in range(repetitions)]


def prepared(peer, case):
    """{name: Contender}, or the reason why there is none."""
    try:
        problem = problems.of(case)
        return {who: Contender(problem, run) for who, run in peer.contenders(problem).items()}
    except Exception as e:   # another version may lack what this one has
        return {sys.argv[1]: f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"}


def main():
    peer = importlib.import_module("peer_" + sys.argv[1])
    peer.use_threads(int(sys.argv[2]))
    print(json.dumps({"version": peer.VERSION}), flush=True)
    case, contenders = None, {}
    for line in sys.stdin:
        wanted = json.loads(line)
        if wanted["case"] != case:
            contenders = {}   # the old ones go first
            case, contenders = wanted["case"], prepared(peer, wanted["case"])
        times = lambda c: c.error or c.measure(wanted["seconds"], wanted["repetitions"])
        print(json.dumps({who: c if isinstance(c, str) else times(c) for who, c in contenders.items()}), flush=True)


main()
