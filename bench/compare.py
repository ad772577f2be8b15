#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Table of benchmark results: time against the machine's limits, the reference and peers.

Reads one or several results in the JSON of Google Benchmark, ours and those of bench/peers/; of the
latter no more is needed than
  {"benchmarks": [{"name": "<op>/<shape>/<phase>/<variant>/threads:<n>/<who>", "real_time": 1.5,
                   "time_unit": "us"}, ...]}
with an entry per repetition. README.md says how to read the table.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
LEVELS = {1: "L1", 2: "L2", 3: "L3", 4: "DRAM"}
OURS, REFERENCE = "kernel", "reference"


class Series:
    """The repetitions of one benchmark."""

    def __init__(self):
        self.times, self.work, self.error = [], {}, None   # nanoseconds, counters

    @property
    def time(self):
        return statistics.median(self.times)

    @property
    def noise(self):
        """Interquartile range over median."""
        if len(self.times) < 2:
            return math.inf
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return (high - low) / self.time


class Results:
    """cases[(op, shape, mode, threads)][who] -> Series, limits[(what, threads)] -> per nanosecond."""

    def __init__(self):
        self.cases, self.limits, self.context = {}, {}, {}

    def read(self, path):
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.context = self.context or data.get("context", {})
        limits = {}
        # Repetitions come in random order: back to that of registration, memories after the ops.
        order = lambda b: (b["name"].startswith("memory."), b.get("family_index", 0))
        for b in sorted(data["benchmarks"], key=order):
            if b.get("run_type", "iteration") != "iteration":
                continue
            parts = b["name"].split("/")
            if parts[0] == "limit":
                end = next(i for i, p in enumerate(parts) if p.startswith("threads:"))
                key = ("/".join(parts[1:end]), int(parts[end][8:]))
                amount = b["fmas"] + b["exps"] + b["read"] + b["updated"]  # one of them
                limits.setdefault(key, []).append(amount / nanoseconds(b))
                continue
            op, shape, *mode, threads, who = parts[:6]
            series = self.cases.setdefault((op, shape, " ".join(mode), int(threads[8:])), {}).setdefault(
                who, Series())
            if b.get("error_occurred"):
                series.error = b.get("error_message", "error")
                continue
            series.times.append(nanoseconds(b))
            series.work = b
        for key, rates in limits.items():
            self.limits[key] = statistics.median(rates)

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


def nanoseconds(b):
    return b["real_time"] * NANOSECONDS[b["time_unit"]]


def digits(x):
    return f"{x:.{2 if x < 10 else 1 if x < 100 else 0}f}"


def duration(ns):
    unit = next((u for u in ("ms", "us") if ns >= NANOSECONDS[u]), "ns")
    return f"{digits(ns / NANOSECONDS[unit])} {unit}"


def percent(noise):
    return "?" if noise == math.inf else f"{100 * noise:.0f}%" if noise < 1 else ">100%"


def against(other, ours):
    """other / ours; "~" where the difference drowns in noise."""
    if not other or not other.times:
        return "-"
    ratio = other.time / ours.time
    noise = max(ours.noise, other.noise)
    return "~" if abs(math.log(ratio)) <= math.log1p(noise) else digits(ratio)


def best_peer(who):
    peers = {name: s for name, s in who.items() if name not in (OURS, REFERENCE) and s.times}
    return min(peers.items(), key=lambda item: item[1].time, default=(None, None))


def table(results, before):
    header = ["op", "shape", "mode", "threads", "time", "x limit", "x reference", "x peer", "peer", "noise"]
    if before:
        header.append("x before")
    rows = []
    for (op, shape, mode, threads), who in results.cases.items():
        ours = who.get(OURS)
        if not ours:
            continue
        row = [op, shape, mode, str(threads)]
        if not ours.times:
            rows.append(row + [f"not timed: {ours.error}"])
            continue
        floor = results.floor(ours.work, threads)
        peer, series = best_peer(who)
        row += [duration(ours.time), digits(ours.time / floor) if floor else "-",
                against(who.get(REFERENCE), ours), against(series, ours), peer or "-",
                percent(ours.noise)]
        if before:
            row.append(against(before.cases.get((op, shape, mode, threads), {}).get(OURS), ours))
        rows.append(row)
    return header, rows


def print_table(header, rows):
    widths = [max(len(r[i]) for r in [header] + [r for r in rows if len(r) == len(header)])
              for i in range(len(header))]
    for row in [header] + rows:
        if len(row) < len(header):
            print("  ".join(c.ljust(w) for c, w in zip(row[:4], widths)) + "  " + row[4])
            continue
        print("  ".join(c.ljust(w) if i < 3 or i == 8 else c.rjust(w)
                        for i, (c, w) in enumerate(zip(row, widths))).rstrip())


def print_context(results):
    c = results.context
    caches = ", ".join(f"L{x['level']} {x['size'] // 1024} KiB" for x in c.get("caches", [])
                       if x["type"] != "Instruction")
    print(f"{c.get('cpu', 'cpu unknown')}, {c.get('num_cpus', '?')} CPUs, {caches}; "
          f"{c.get('compiler', 'compiler unknown')}; commit {c.get('commit', 'unknown')}; "
          f"{c.get('date', '')}; load {c.get('load_avg', ['?'])[0]}")
    for threads in sorted({t for _, t in results.limits}):
        print(f"limits, threads {threads} (G/s of FMAs, exps, bytes read, bytes updated):",
              ", ".join(f"{what} {rate:.3g}" for (what, t), rate in results.limits.items() if t == threads))
    print()


def write_svg(path, results):
    """Horizontal bars of x limit, logarithmic, a pair of shades for 1 and more threads."""
    bars = []
    for (op, shape, mode, threads), who in results.cases.items():
        ours = who.get(OURS)
        floor = ours and ours.times and results.floor(ours.work, threads)
        if floor:
            bars.append((f"{op} {shape} {mode}", threads, ours.time / floor))
    if not bars:
        sys.exit("no case with a limit: the results hold no limit/... of the same run")
    labels = list(dict.fromkeys(b[0] for b in bars))
    left, width, height, top = 330, 560, 20, 50
    most = max(b[2] for b in bars)
    x_of = lambda v: left + width * max(0.0, math.log(v)) / math.log(max(2, most))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" '
           f'height="{top + height * len(labels) + 20}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="16" font-size="13">time / limit of this machine: 1 is the fastest</text>']
    for shade, text, at in (("#1f6f8b", "1 thread", left), ("#9fc9d6", "more threads", left + 90)):
        out.append(f'<rect x="{at}" y="23" width="10" height="10" fill="{shade}"/>'
                   f'<text x="{at + 14}" y="32">{text}</text>')
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if tick <= most:
            out.append(f'<line x1="{x_of(tick):.1f}" y1="{top - 4}" x2="{x_of(tick):.1f}" '
                       f'y2="{top + height * len(labels)}" stroke="#ccc"/>'
                       f'<text x="{x_of(tick):.1f}" y="{top - 6}" text-anchor="middle">{tick}</text>')
    for i, label in enumerate(labels):
        y = top + height * i
        out.append(f'<text x="{left - 6}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        for text, threads, factor in bars:
            if text == label:
                first = threads == 1
                out.append(f'<rect x="{left}" y="{y + (2 if first else 10)}" '
                           f'width="{max(1.0, x_of(factor) - left):.1f}" '
                           f'height="7" fill="{"#1f6f8b" if first else "#9fc9d6"}"/>'
                           f'<text x="{x_of(factor) + 4:.1f}" y="{y + (9 if first else 17)}" font-size="8">'
                           f'{digits(factor)}</text>')
    pathlib.Path(path).write_text("\n".join(out + ["</svg>", ""]), encoding="utf-8")


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("results", nargs="+", help="JSON files of one machine and one session")
    ap.add_argument("--before", help="an older result of ours: adds the column `x before`, old / new time")
    ap.add_argument("--svg", help="write a chart of x limit there")
    args = ap.parse_args()

    results, before = Results(), None
    for path in args.results:
        results.read(path)
    if args.before:
        before = Results()
        before.read(args.before)
    print_context(results)
    print_table(*table(results, before))
    if args.svg:
        write_svg(args.svg, results)


if __name__ == "__main__":
    main()
