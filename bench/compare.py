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

import chart

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
        self.cases, self.limits, self.context, self.ten_lines = {}, {}, {}, None

    def read(self, path):
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.context = self.context or data.get("context", {})
        self.ten_lines = data.get("ten_lines", self.ten_lines)
        limits = {}
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
        if not ours or curve_of(mode):
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


def print_columns(header, rows, left=(), about=2):
    """Columns in `left` to the left, others to the right; a shorter row has a text after `about` columns."""
    widths = [max(len(r[i]) for r in [header] + [r for r in rows if len(r) == len(header)])
              for i in range(len(header))]
    for row in [header] + rows:
        if len(row) < len(header):
            print("  ".join(c.ljust(w) for c, w in zip(row[:about], widths)) + "  " + row[about])
            continue
        print("  ".join(c.ljust(w) if i in left else c.rjust(w)
                        for i, (c, w) in enumerate(zip(row, widths))).rstrip())
    print()


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


def bars(results):
    """Rows of the chart of x limit."""
    rows = []
    for (op, shape, mode, threads), who in results.cases.items():
        ours = who.get(OURS)
        floor = ours and ours.times and not curve_of(mode) and results.floor(ours.work, threads)
        if floor:
            rows.append((f"{op} {shape} {mode}", threads == 1, ours.time / floor))
    return rows


# ---- curves: cases whose mode is "lanes <n>" or "T <n>" ----------------------------------------------------------

def curve_of(mode):
    """("lanes", 64) of "lanes 64"; None if it is no such mode."""
    what, _, at = mode.partition(" ")
    return (what, int(at)) if what in ("lanes", "T") else None


def curves_of(results, what):
    """{shape: {(n, threads): Series}} of ours."""
    curves = {}
    for (_, shape, mode, threads), who in results.cases.items():
        curve = curve_of(mode)
        if curve and curve[0] == what and OURS in who:
            curves.setdefault(shape, {})[curve[1], threads] = who[OURS]
    return curves


def streams(results):
    """Prints tokens/s against lanes; returns the panels of their chart."""
    panels = []
    for shape, curve in curves_of(results, "lanes").items():
        header = ["lanes", "threads", "time", "tokens/s", "x one lane", "at the limit", "x limit", "state bytes",
                  "noise"]
        rows, lines = [], {}
        for (lanes, threads), series in sorted(curve.items(), key=lambda item: item[0][::-1]):
            row = [str(lanes), str(threads)]
            if not series.times:
                rows.append(row + [f"not timed: {series.error}"])
                continue
            pace = lambda time: lanes * 1e9 / time
            one, floor = curve.get((1, threads)), results.floor(series.work, threads)
            ratio = pace(series.time) * one.time / 1e9 if one and one.times else None
            rows.append(row + [duration(series.time), digits(pace(series.time)), digits(ratio) if ratio else "-",
                               digits(pace(floor)) if floor else "-", digits(series.time / floor) if floor else "-",
                               f"{series.work['state_bytes']:,.0f}", percent(series.noise)])
            name = f"{threads} thread{'s' if threads > 1 else ''}"
            lines.setdefault((name, False), []).append((lanes, pace(series.time)))
            if floor:
                lines.setdefault((name + ", at the limits of this machine", True), []).append((lanes, pace(floor)))
        print(f"{shape}: the next token of so many streams at once")
        print_columns(header, rows)
        if lines:
            panels.append(chart.Panel(f"{shape}: tokens/s", "streams decoded at once",
                                      [(name, points, dashed) for (name, dashed), points in lines.items()], digits))
    return panels


def growth(results):
    """Prints time and bytes against the length of the past; returns the panels of their chart."""
    curves = curves_of(results, "T")
    timed = {shape: {T: s for (T, _), s in curve.items() if s.times} for shape, curve in curves.items()}
    timed = {shape: curve for shape, curve in timed.items() if curve}
    if not timed:
        return []
    size = lambda b: f"{digits(b / 1e6)} MB" if b >= 1e6 else f"{digits(b / 1e3)} kB"
    rows = []
    for T in sorted({T for curve in timed.values() for T in curve}):
        row = [str(T)]
        for curve in timed.values():
            s = curve.get(T)
            row += [duration(s.time), size(s.work["state_bytes"])] if s else ["-", "-"]
        rows.append(row)
    print("one more token after T, and the state that those have left")
    print_columns(["T", *(column for shape in timed for column in (shape, "bytes"))], rows)
    panel = lambda title, y_of, text: chart.Panel(
        title, "T, tokens read before", [(shape, [(T, y_of(s)) for T, s in curve.items()], False)
                                         for shape, curve in timed.items()], text)
    return [panel("time of a token", lambda s: s.time, duration),
            panel("bytes of the state", lambda s: s.work["state_bytes"], size)]


def ten_lines(built):
    return [f"README's first program: {digits(statistics.median(built['seconds']))} s to compile, "
            f"{built['bytes'] / 1e3:.0f} kB, {built['stripped_bytes'] / 1e3:.0f} kB stripped",
            f"({built['compiler']}, {built['flags']})"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("results", nargs="+", help="JSON files of one machine and one session")
    ap.add_argument("--before", help="an older result of ours: adds the column `x before`, old / new time")
    ap.add_argument("--charts", help="draw limits.svg, streams.svg and growth.svg into this folder")
    args = ap.parse_args()

    results, before = Results(), None
    for path in args.results:
        results.read(path)
    if args.before:
        before = Results()
        before.read(args.before)
    print_context(results)
    header, rows = table(results, before)
    if rows:
        print_columns(header, rows, left=(0, 1, 2, 8), about=4)
    of_streams, of_growth = streams(results), growth(results)
    notes = ten_lines(results.ten_lines) if results.ten_lines else []
    for note in notes:
        print(note)
    if args.charts:
        folder = pathlib.Path(args.charts)
        if of_limits := bars(results):
            chart.bars(folder / "limits.svg", "time / limit of this machine: 1 is the fastest", of_limits, digits)
        if of_streams:
            chart.panels(folder / "streams.svg", of_streams)
        if of_growth:
            chart.panels(folder / "growth.svg", of_growth, notes)


if __name__ == "__main__":
    main()
