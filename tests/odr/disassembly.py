#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks for wide-vector code under names that do not say so: disassembly.py NM OBJDUMP PROGRAM

Of a weak symbol the linker keeps one copy for the whole program, whichever unit it came from. Its name must therefore
say what its code needs: VEX-encoded instructions an AVX tag, EVEX-encoded ones and mask registers an AVX-512 tag. A tag
is the library's inline namespace or an architecture type of xsimd in the mangled name. Prints what breaks the rule; the
exit status is 1 if anything does.
"""
import re
import subprocess
import sys

PLAIN, AVX, AVX512 = range(3)
NAMES = ("SSE", "AVX", "AVX-512")
TAGS = ((r"v0_(scalar_)?avx512|\d+avx512|avx10", AVX512), (r"v0_(scalar_)?avx|\d+avx|\d+fma3", AVX))
INSTRUCTION = re.compile(r"\s*[0-9a-f]+:\s+((?:[0-9a-f]{2}\s)+)\s*(.+)")  # of GNU's objdump and of LLVM's
SEGMENT_PREFIXES = {"26", "2e", "36", "3e", "64", "65", "67"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def allowed(symbol):
    return max((level for tag, level in TAGS if re.search(tag, symbol)), default=PLAIN)


def needed(code, text):
    """The level of an instruction: its bytes in hexadecimal, and its text."""
    first = next((byte for byte in code.split() if byte not in SEGMENT_PREFIXES), "")
    if first == "62":
        return AVX512
    if first in ("c4", "c5"):
        return AVX512 if text.startswith("k") else AVX
    return PLAIN


def findings(nm, objdump, program):
    """Symbol -> (level of its code, number of such instructions, the first of them)."""
    weak, names = set(), set()  # addresses: a name may also be that of hidden copies
    for line in output(nm, program):
        words = line.split()
        if len(words) == 3 and words[1] in "VWu":
            weak.add(int(words[0], 16))
            names.add(words[2])
    found, symbol, limit = {}, "", PLAIN
    for line in output(objdump, "-d", "-w", program):
        if line.endswith(">:"):
            symbol = line[line.index("<") + 1 : -2]
            part = "." in symbol and symbol.split(".")[0] in names  # such as f.cold
            limit = allowed(symbol) if part or int(line.split()[0], 16) in weak else AVX512
            continue
        instruction = INSTRUCTION.match(line)
        if not instruction or (level := needed(*instruction.groups())) <= limit:
            continue
        before = found.get(symbol, (PLAIN, 0, instruction[2].strip()))
        found[symbol] = (max(level, before[0]), before[1] + 1, before[2])
    return len(weak), found


def main():
    count, found = findings(*sys.argv[1:])
    print(f"{count} weak symbols, {len(found)} with code beyond their names")
    for symbol, (level, instructions, first) in sorted(found.items()):
        print(f"{symbol}: {instructions} {NAMES[level]} instructions, the first is {first}")
    if count == 0:
        sys.exit("no weak symbols: is the program stripped?")
    sys.exit(1 if found else 0)


main()
