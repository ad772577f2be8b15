# SPDX-License-Identifier: Apache-2.0
"""Results of benchmarks, ours and those of peers: what was timed, and what the machine could do meanwhile."""

import json
import math
import pathlib
import statistics
from typing import NamedTuple

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
LEVELS = {1: "L1", 2: "L2", 3: "L3", 4: "DRAM"}
OURS, REFERENCE = "kernel", "reference"


class Case(NamedTuple):
    op: str
    shape: str
    mode: str   # of two words: "decode hot", "prefill 512", "lanes 64"
    threads: int

    @property
    def name(self):
        return f"{self.op}/{self.shape}/{self.mode.replace(' ', '/')}/threads:{self.threads}"


def noise_of(values):
    """Interquartile range over median."""
    if len(values) < 2:
        return math.inf
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


class Series:
    """The repetitions of one benchmark."""

    def __init__(self):
        self.times, self.work, self.error = [], {}, None   # nanoseconds, counters
        self.beside = None   # of a peer: ours of the same file, measured in the same minutes
        self.by_turns = False   # the n-th repetition right after the n-th of `beside`

    @property
    def time(self):
        return statistics.median(self.times)

    @property
    def noise(self):
        return noise_of(self.times)

    @property
    def time_of_token(self):
        return self.time / self.work.get("tokens", 1)


class Ratio(NamedTuple):
    value: float
    noise: float

    @staticmethod
    def of(other, ours):
        """How many times as long as ours the other takes."""
        ours = other.beside or ours
        if other.by_turns and len(other.times) == len(ours.times):
            ratios = [a / b for a, b in zip(other.times, ours.times)]
            return Ratio(statistics.median(ratios), noise_of(ratios))
        return Ratio(other.time / ours.time, max(other.noise, ours.noise))

    def drowns(self):
        """No winner: the difference is within the noise."""
        return abs(math.log(self.value)) <= math.log1p(self.noise)


class Results:
    """cases[Case][who] -> Series, limits[(what, threads)] -> per nanosecond.

    cpu_time: what runs on one thread by the processor's time instead of that which passed.
    """

    def __init__(self, cpu_time=False):
        self.cpu_time = cpu_time
        self.cases, self.limits, self.context, self.ten_lines = {}, {}, {}, None
        self.peers = {}   # what they say of themselves

    def read(self, path):
        """Another file. Of a series that several hold, the first file's counts."""
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.context = self.context or data.get("context", {})
        self.peers.update(data.get("context", {}).get("peers", {}))
        self.ten_lines = data.get("ten_lines", self.ten_lines)
        limits, cases = {}, {}
        # Repetitions come in random order: back to that of registration, memories after the ops.
        order = lambda b: (b["name"].startswith("memory."), b.get("family_index", 0))
        for b in sorted(data.get("benchmarks", []), key=order):
            if b.get("run_type", "iteration") != "iteration":
                continue
            parts = b["name"].split("/")
            if parts[0] == "limit":
                end = next(i for i, p in enumerate(parts) if p.startswith("threads:"))
                key = ("/".join(parts[1:end]), int(parts[end][8:]))
                amount = b["fmas"] + b["exps"] + b["read"] + b["updated"]  # one of them
                limits.setdefault(key, []).append(amount / self._nanoseconds(b, key[1]))
                continue
            op, shape, *mode, threads, who = parts[:6]
            case = Case(op, shape, " ".join(mode), int(threads[8:]))
            series = cases.setdefault(case, {}).setdefault(who, Series())
            if b.get("error_occurred"):
                series.error = b.get("error_message", "error")
                continue
            series.times.append(self._nanoseconds(b, case.threads))
            series.work = b
        for case, who in cases.items():
            ours = who.get(OURS)
            for name, series in who.items():
                if name != OURS and ours and ours.times:
                    series.beside, series.by_turns = ours, data.get("context", {}).get("by_turns", False)
                self.cases.setdefault(case, {}).setdefault(name, series)
        for key, rates in limits.items():
            self.limits.setdefault(key, statistics.median(rates))

    def _nanoseconds(self, b, threads):
        clock = "cpu_time" if self.cpu_time and threads == 1 and "cpu_time" in b else "real_time"
        return b[clock] * NANOSECONDS[b["time_unit"]]

    def floor(self, work, threads):
        """Nanoseconds at the limits, the larger of arithmetic and memory; None if unknown."""
        limit = lambda what: self.limits.get((what, threads))
        level = LEVELS.get(work.get("level"))
        costs = [("fmas", "fma"), ("exps", "exp"), ("read", f"read/{level}"), ("updated", f"update/{level}")]
        spent = {}
        for amount, what in costs:
            if not work.get(amount):
                spent[amount] = 0
            elif limit(what):
                spent[amount] = work[amount] / limit(what)
            else:
                return None
        return max(spent["fmas"] + spent["exps"], spent["read"] + spent["updated"]) or None

    def over_floor(self, case):
        """Our time over the floor; None if either is unknown."""
        ours = self.cases.get(case, {}).get(OURS)
        floor = ours and ours.times and self.floor(ours.work, case.threads)
        return Ratio(ours.time / floor, ours.noise) if floor else None


def is_peer(name):
    return name not in (OURS, REFERENCE)


def fastest(series_of):
    """(name, Series) of those that were timed, each by its own minutes."""
    pace = lambda s: s.time / s.beside.time if s.beside else s.time
    return min(((name, s) for name, s in series_of.items() if s.times), key=lambda item: pace(item[1]),
               default=(None, None))
