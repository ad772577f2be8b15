#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/ makes of results: goals_test.py PROJECT_FOLDER"""

import json
import pathlib
import sys
import tempfile
import unittest

PROJECT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(PROJECT / "bench"))

from goals import Goal, Goals, GoalsError, Quoted   # noqa: E402
from results import OURS, Results   # noqa: E402


def entry(name, *times, **counters):
    return [{"name": name, "real_time": t, "time_unit": "us", **counters} for t in times]


# One thread does 1 multiply-add per nanosecond.
LIMITS = entry("limit/fma/threads:1", 1e-3, fmas=1, exps=0, read=0, updated=0)


def results_of(*files, **context):
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        for i, benchmarks in enumerate(files):
            path = pathlib.Path(folder, f"{i}.json")
            path.write_text(json.dumps({"benchmarks": benchmarks, "context": context}), encoding="utf-8")
            results.read(path)
    return results


def goals_of(*entries, quoted=None):
    goals = Goals.__new__(Goals)
    goals.goals, goals.quoted = [Goal(e) for e in entries], Quoted(quoted or {})
    return goals


def verdicts(goals, results):
    return [j.verdict() for j in goals.judge(results)]


def timed(*times, who=OURS, op="foo", shape="8", mode="decode/hot", threads=1, **counters):
    return entry(f"{op}/{shape}/{mode}/threads:{threads}/{who}", *times, **{"fmas": 1000, **counters})


class GoalsTest(unittest.TestCase):
    limit = {"cases": ["foo/*/threads:1"], "limit": 1.25}

    def test_limit(self):
        for times, verdict in (((1.2, 1.2), "met"), ((1.3, 1.3), "not met, open"), ((1.1, 1.3, 1.5), "met ~"),
                               ((4, 1, 9), "not met, open")):   # no noise excuses that
            with self.subTest(times):
                self.assertEqual(verdicts(goals_of(self.limit), results_of(LIMITS + timed(*times))), [verdict])

    def test_reason(self):
        goals = goals_of({**self.limit, "reason": "exp binds,\n  at 3 G/s"})
        slow, quick = results_of(LIMITS + timed(2, 2)), results_of(LIMITS + timed(1, 1))
        self.assertEqual(verdicts(goals, slow), ["not met"])
        self.assertEqual(goals.goals[0].reason, "exp binds, at 3 G/s")
        self.assertEqual(goals.warnings(slow, goals.judge(slow), False), [])
        self.assertIn("met, but has a reason", goals.warnings(quick, goals.judge(quick), False)[0])

    def test_later_goal_of_one_kind_counts(self):
        goals = goals_of(self.limit, {"cases": ["*"], "ahead_of": "plain", "by": 2},
                         {"cases": ["foo/8/*"], "limit": 3, "reason": "why"})
        results = results_of(LIMITS + timed(2, 2) + timed(3, 3, who="plain"))
        self.assertEqual([(j.goal.limit, j.verdict()) for j in goals.judge(results)],
                         [(None, "not met, open"), (3, "met")])

    def test_peer_is_held_against_ours_of_its_own_file(self):
        goals = goals_of({"cases": ["*"], "ahead_of": "torch*", "by": 3})
        results = results_of(timed(1, 1), timed(2, 2) + timed(4, 4, who="torch sdpa") + timed(9, 9, who="torch bmm"))
        self.assertEqual([(j.ratio.value, j.quoted) for j in goals.judge(results)], [(2, False)])

    def test_peer_by_turns(self):
        goals = goals_of({"cases": ["*"], "ahead_of": "torch", "by": 3})
        results = results_of(timed(1, 10, 100) + timed(3, 30, 50, who="torch"), by_turns=True)
        self.assertEqual([j.ratio.value for j in goals.judge(results)], [3])

    def test_quoted_by_way_of_the_floors(self):
        quoted = {"ggml": {"source": "there", "floors": {"foo/8/decode/hot": 6}}}
        goals = goals_of({"cases": ["*"], "ahead_of": "ggml", "by": 3}, quoted=quoted)
        judged = goals.judge(results_of(LIMITS + timed(2, 2)))
        self.assertEqual([(j.ratio.value, j.quoted, j.met) for j in judged], [(3, True, True)])

    def test_not_measured(self):
        goals = goals_of({"cases": ["*"], "ahead_of": "faiss", "by": 4})
        self.assertEqual(verdicts(goals, results_of(timed(1, 1))), ["not measured"])

    def test_swap_compares_tokens(self):
        lanes = lambda n, t: timed(t, t, op="streams", shape="m", mode=f"lanes/{n}", tokens=n)
        goals = goals_of({"cases": ["streams/*/lanes/64/*"], "swap": ["lanes/64", "lanes/1"], "by": 8})
        self.assertEqual([j.ratio.value for j in goals.judge(results_of(lanes(1, 1) + lanes(64, 4)))], [16])
        self.assertEqual(verdicts(goals, results_of(lanes(64, 4))), ["not measured"])

    def test_cases_that_are_not_there(self):
        goals = goals_of({"cases": ["foo/*", "bar/*"], "limit": 2})
        results = results_of(LIMITS + timed(1, 1))
        self.assertEqual(goals.warnings(results, goals.judge(results), True), ["goal <= 2 x limit: no case is bar/*"])

    def test_what_is_no_goal(self):
        for wrong in ({"cases": ["*"]}, {"limit": 2}, {"cases": ["*"], "limit": 2, "by": 3}, {"cases": ["*"], "by": 3},
                      {"cases": ["*"], "ahead_of": "x"}, {"cases": ["*"], "limit": 2, "because": "x"}):
            with self.subTest(wrong), self.assertRaises(GoalsError):
                Goal(wrong)

    def test_files(self):
        goals = Goals(PROJECT / "bench")
        self.assertGreater(len(goals.goals), 10)
        self.assertGreater(len(goals.quoted.of), 10)


class ResultsTest(unittest.TestCase):
    def test_processor_time_of_one_thread(self):
        results = Results(cpu_time=True)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "r.json")
            path.write_text(json.dumps({"benchmarks": timed(9, cpu_time=1) + timed(9, cpu_time=1, threads=2)}))
            results.read(path)
        self.assertEqual([who[OURS].time for who in results.cases.values()], [1000, 9000])


unittest.main()
