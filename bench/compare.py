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
import math
import pathlib
import statistics

import chart
from goals import Goals
from results import NANOSECONDS, OURS, REFERENCE, Ratio, Results, fastest, is_peer


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
    ratio = Ratio.of(other, ours)
    return "~" if ratio.drowns() else digits(ratio.value)


def table(results, before, judged, notes):
    header = ["op", "shape", "mode", "threads", "time", "x limit", "goal", "met", "x reference", "x peer", "peer",
              "noise"]
    if before:
        header.append("x before")
    limits = {j.case: j for j in judged if j.goal.limit}
    rows = []
    for case, who in results.cases.items():
        ours = who.get(OURS)
        if not ours or curve_of(case.mode):
            continue
        row = [case.op, case.shape, case.mode, str(case.threads)]
        if not ours.times:
            rows.append(row + [f"not timed: {ours.error}"])
            continue
        floor, goal = results.over_floor(case), limits.get(case)
        peer, series = fastest({name: s for name, s in who.items() if is_peer(name)})
        row += [duration(ours.time), digits(floor.value) if floor else "-",
                f"{goal.goal.limit}" if goal else "-", notes.verdict(goal) if goal else "-",
                against(who.get(REFERENCE), ours), against(series, ours), peer or "-", percent(ours.noise)]
        if before:
            row.append(against(before.cases.get(case, {}).get(OURS), ours))
        rows.append(row)
    return header, rows


class Notes:
    """Reasons why goals are not met, numbered as they are first named."""

    def __init__(self):
        self.texts = []

    def verdict(self, judged):
        text = judged.verdict()
        if judged.met or judged.ratio is None or not judged.goal.reason:
            return text
        if judged.goal.reason not in self.texts:
            self.texts.append(judged.goal.reason)
        return f"{text} [{self.texts.index(judged.goal.reason) + 1}]"


def other_goals(judged, notes):
    """Goals that are ratios of two measurements."""
    rows = []
    for j in judged:
        if not j.goal.limit:
            measured = digits(j.ratio.value) + (" quoted" if j.quoted else "") if j.ratio else "-"
            rows.append([j.case.name, j.goal.text(), measured, notes.verdict(j)])
    return ["case", "goal", "measured", "met"], rows


def quotations(results, quoted):
    """What peers that no registry carries took elsewhere, held against our time by way of both floors."""
    rows = [[case.name, who, "~" if ratio.drowns() else digits(ratio.value)]
            for case in results.cases for who, ratio in quoted.ratios(results, case).items()]
    return ["case", "quoted", "x quoted"], rows


def print_goals(results, goals, judged, notes, complete):
    header, rows = other_goals(judged, notes)
    if rows:
        print_columns(header, rows, left=(0, 1, 3))
    header, rows = quotations(results, goals.quoted)
    if rows:
        print_columns(header, rows, left=(0, 1))
        print("quoted:", "; ".join(goals.quoted.sources.values()), end="\n\n")
    for number, text in enumerate(notes.texts, 1):
        print(f"[{number}] {text}")
    counts = {}
    for j in judged:
        counts[j.verdict()] = counts.get(j.verdict(), 0) + 1
    if counts:
        print("goals:", ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))
    for warning in goals.warnings(results, judged, complete):
        print(f"warning: {warning}")
    print()


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
    for peer, what in results.peers.items():
        print(f"{peer}: {what}")
    for threads in sorted({t for _, t in results.limits}):
        print(f"limits, threads {threads} (G/s of FMAs, exps, bytes read, bytes updated):",
              ", ".join(f"{what} {rate:.3g}" for (what, t), rate in results.limits.items() if t == threads))
    print()


def bars(results, judged):
    """Rows of the chart of x limit."""
    floors = {case: results.over_floor(case) for case in results.cases if not curve_of(case.mode)}
    goals = {j.case: j.goal.limit for j in judged if j.goal.limit}
    return [(f"{case.op} {case.shape} {case.mode}", case.threads == 1, floor.value, goals.get(case))
            for case, floor in floors.items() if floor]


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
    ap.add_argument("--cpu-time", action="store_true", help="the processor's time of what runs on one thread, for a "
                    "machine that does other work too")
    ap.add_argument("--complete", action="store_true", help="warn of goals that match no case")
    ap.add_argument("--charts", help="draw limits.svg, streams.svg and growth.svg into this folder")
    args = ap.parse_args()

    results, before = Results(args.cpu_time), None
    for path in args.results:
        results.read(path)
    if args.before:
        before = Results(args.cpu_time)
        before.read(args.before)
    goals, notes = Goals(pathlib.Path(__file__).parent), Notes()
    judged = goals.judge(results)
    print_context(results)
    header, rows = table(results, before, judged, notes)
    if rows:
        print_columns(header, rows, left=(0, 1, 2, 7, 10), about=4)
    print_goals(results, goals, judged, notes, args.complete)
    of_streams, of_growth = streams(results), growth(results)
    built = ten_lines(results.ten_lines) if results.ten_lines else []
    for line in built:
        print(line)
    if args.charts:
        folder = pathlib.Path(args.charts)
        if of_limits := bars(results, judged):
            chart.bars(folder / "limits.svg", "time / limit of this machine: 1 is the fastest", of_limits, digits)
        if of_streams:
            chart.panels(folder / "streams.svg", of_streams)
        if of_growth:
            chart.panels(folder / "growth.svg", of_growth, built)


if __name__ == "__main__":
    main()
