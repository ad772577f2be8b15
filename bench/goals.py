# SPDX-License-Identifier: Apache-2.0
"""The goals of goals.toml, and how far what was measured is from them. README.md has the format."""

import fnmatch
import math
import pathlib
import tomllib
from typing import NamedTuple

from results import OURS, Case, Ratio, fastest, is_peer

# No noise excuses more than that.
MOST_NOISE = 0.25
KEYS = {"cases", "limit", "ahead_of", "swap", "by", "reason"}


class GoalsError(Exception):
    pass


def toml(folder, name):
    return tomllib.loads(pathlib.Path(folder, name).read_text(encoding="utf-8"))


def is_one_of(case, patterns):
    return any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)


class Goal:
    def __init__(self, entry):
        if not set(entry) <= KEYS:
            raise GoalsError(f"goal of {entry.get('cases')}: unknown {', '.join(sorted(set(entry) - KEYS))}")
        if sum(key in entry for key in ("limit", "ahead_of", "swap")) != 1 or \
                ("limit" in entry) == ("by" in entry) or not entry.get("cases"):
            raise GoalsError(f"goal of {entry.get('cases')}: wants cases, and limit, or ahead_of or swap with by")
        self.cases = entry["cases"]
        self.limit, self.by = entry.get("limit"), entry.get("by")
        self.ahead_of, self.swap = entry.get("ahead_of"), entry.get("swap")
        self.reason = " ".join(entry.get("reason", "").split())

    @property
    def kind(self):
        """Of goals of one kind the last that names a case is that case's."""
        return ("limit",) if self.limit else (self.ahead_of,) if self.ahead_of else tuple(self.swap)

    def text(self):
        if self.limit:
            return f"<= {self.limit} x limit"
        if self.ahead_of:
            return f">= {self.by} x {self.ahead_of}"
        ours, other = self.swap
        return f">= {self.by} x " + (other or f"the one without {ours}")

    def matches(self, case):
        return is_one_of(case, self.cases)


class Quoted:
    """Peers of quoted.toml: of[name][who], their time over the floor of the machine where they ran."""

    def __init__(self, peers):
        self.of, self.sources = {}, {who: peer["source"] for who, peer in peers.items()}
        for who, peer in peers.items():
            for name, floors in peer["floors"].items():
                self.of.setdefault(name + "/threads:1", {})[who] = floors

    def ratios(self, results, case, who="*"):
        """{who: Ratio} of theirs over the floor there to ours over the floor here."""
        ours = results.over_floor(case)
        return {name: Ratio(floors / ours.value, ours.noise) for name, floors in self.of.get(case.name, {}).items()
                if ours and fnmatch.fnmatchcase(name, who)}


class Judged(NamedTuple):
    case: Case
    goal: Goal
    ratio: Ratio | None   # None: not measured
    quoted: bool = False

    @property
    def met(self):
        """Met, or as near as the noise lets one tell."""
        return self.ratio is not None and self.short_by <= self.excuse

    @property
    def near(self):
        return self.met and self.short_by > 0

    @property
    def short_by(self):
        if self.goal.limit:
            return math.log(self.ratio.value / self.goal.limit)
        return math.log(self.goal.by / self.ratio.value)

    @property
    def excuse(self):
        return math.log1p(min(self.ratio.noise, MOST_NOISE))

    def verdict(self):
        if self.ratio is None:
            return "not measured"
        if self.met:
            return "met ~" if self.near else "met"
        return "not met" if self.goal.reason else "not met, open"


class Goals:
    def __init__(self, folder):
        self.goals = [Goal(entry) for entry in toml(folder, "goals.toml").get("goal", [])]
        self.quoted = Quoted(toml(folder, "quoted.toml"))

    def judge(self, results):
        """[Judged], by goal; of every case that was measured."""
        judged = []
        for i, goal in enumerate(self.goals):
            for case in results.cases:
                ruled_out = any(later.kind == goal.kind and later.matches(case) for later in self.goals[i + 1:])
                if goal.matches(case) and not ruled_out:
                    judged.append(self._judge(results, case, goal))
        return judged

    def _judge(self, results, case, goal):
        who = results.cases[case]
        ours = who.get(OURS)
        if goal.limit:
            return Judged(case, goal, results.over_floor(case))
        if goal.ahead_of:
            _, peer = fastest({name: s for name, s in who.items()
                               if is_peer(name) and fnmatch.fnmatchcase(name, goal.ahead_of)})
            if peer and (peer.beside or ours and ours.times):
                return Judged(case, goal, Ratio.of(peer, ours))
            quoted = self.quoted.ratios(results, case, goal.ahead_of).values()
            return Judged(case, goal, min(quoted, default=None), quoted=True)
        named = case.name.replace(*goal.swap, 1)
        other = next((w.get(OURS) for c, w in results.cases.items() if c.name == named != case.name), None)
        if not other or not other.times or not ours or not ours.times:
            return Judged(case, goal, None)
        return Judged(case, goal, Ratio(other.time_of_token / ours.time_of_token, max(other.noise, ours.noise)))

    def warnings(self, results, judged, complete):
        """What of the file does not fit what was measured; complete: every case was."""
        found = []
        for goal in self.goals:
            of_goal = [j for j in judged if j.goal is goal and j.ratio]
            name = f"goal {goal.text()} of {', '.join(goal.cases)}"
            if goal.reason and of_goal and all(j.met for j in of_goal):
                found.append(f"{name}: met, but has a reason why not")
            if complete:
                found += [f"goal {goal.text()}: no case is {p}" + (f": {goal.reason}" if goal.reason else "")
                          for p in goal.cases if not any(is_one_of(case, [p]) for case in results.cases)]
        return found
