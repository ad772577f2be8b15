#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long the first program of README.md takes to compile and how large it gets: ten_lines.py BUILD_FOLDER

Compiler, flags and the place of xsimd are those of the build folder; no cache of compilations comes between. Prints
JSON for compare.py.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

BUILDS = 3


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    text_of = lambda *path: pathlib.Path(*path).read_text(encoding="utf-8")
    cache = dict(re.findall(r"^(\w+):\w+=(.*)$", text_of(sys.argv[1], "CMakeCache.txt"), re.MULTILINE))
    code = re.search(r"^```cpp\n(.*?)^```$", text_of(root, "README.md"), re.MULTILINE | re.DOTALL)
    flags = ["-std=c++20", *cache["CMAKE_CXX_FLAGS_RELEASE"].split()]
    if cache.get("MNEME_TEST_ARCH"):
        flags.append("-march=" + cache["MNEME_TEST_ARCH"])
    compiler = cache["CMAKE_CXX_COMPILER"]
    xsimd = ["-isystem", cache["MNEME_XSIMD_INCLUDE_DIR"]] if cache.get("MNEME_XSIMD_INCLUDE_DIR") else []
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "ten_lines.cpp"), pathlib.Path(folder, "ten_lines")
        source.write_text(code[1], encoding="utf-8")
        seconds = []
        for n in range(BUILDS):
            print(f"ten lines: build {n + 1} of {BUILDS}", file=sys.stderr)
            start = time.monotonic()
            subprocess.run([compiler, *flags, "-I", root / "include", *xsimd, source, "-o", program], check=True)
            seconds.append(time.monotonic() - start)
        size = program.stat().st_size
        subprocess.run([program], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["strip", program], check=True)
        stripped = program.stat().st_size
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    json.dump({"ten_lines": {"compiler": version.splitlines()[0], "flags": " ".join(flags), "seconds": seconds,
                             "bytes": size, "stripped_bytes": stripped}}, sys.stdout, indent=2)


main()
