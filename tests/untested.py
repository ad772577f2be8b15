#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that no op is without its laws and no memory without a unit test: untested.py PROJECT_FOLDER

The laws do not know the equation of a memory: memory/foo.hpp wants unit/memory/foo*_test.cpp, layers likewise.
Test cases in tests/unit/op have laws and ops as tags: every op with a kernel in backend/cpu has an
[L16][<op>] case, every header of op/ that merges parts into a whole an [L12][<header>] case.
"""
import pathlib
import re
import sys

project = pathlib.Path(sys.argv[1])


def texts(folder, suffix):
    return {path: path.read_text(encoding="utf-8") for path in sorted((project / folder).glob(f"*{suffix}"))}


def tags_of(law):
    """All tags of the test cases of this law."""
    cases = re.findall(r'TEST_CASE\("[^"]*",\s*"([^"]*)"', "".join(texts("tests/unit/op", ".cpp").values()))
    return set(re.findall(r"\[(\w+)\]", "".join(tags for tags in cases if f"[{law}]" in tags)))


kernels = {op: path for path, text in texts("include/mneme/backend/cpu", ".hpp").items()
           for op in re.findall(r"struct kernel<(\w+)(?:<R>)?, cpu<Arch>>", text)}
mergers = {path.stem: path for path, text in texts("include/mneme/op", ".hpp").items() if "merge(" in text}
l12, l16 = tags_of("L12"), tags_of("L16")
missing = [f"{path}: op {op} has no test case tagged [L16][{op}]"
           for op, path in kernels.items() if op not in l16]
missing += [f"{path}: merges, and has no test case tagged [L12][{name}]"
            for name, path in mergers.items() if name not in l12]
memories = [path for folder in ("memory", "layer")
            for path in sorted((project / "include/mneme" / folder).glob("*.hpp"))
            if not list((project / "tests/unit" / folder).glob(f"{path.stem}*_test.cpp"))]
missing += [f"{path}: has no unit test {path.stem}*_test.cpp of its equation" for path in memories]
print("\n".join(missing) or f"{len(kernels)} ops, {len(mergers)} headers that merge: all have their laws; memories and layers have unit tests")
sys.exit(bool(missing))
