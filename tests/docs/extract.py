#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the C++ blocks of a Markdown page as files: extract.py PAGE OUT_FOLDER programs|headers

programs: block n becomes OUT_FOLDER/<page>_<n>.cpp. The first must be a complete program. A later block with no main()
is put into one, after its own #include lines and <mneme/mneme.hpp>; what it uses it must declare.
headers: a block with #pragma once becomes OUT_FOLDER/<class>.hpp, named by the last class or struct at the margin.
Other blocks are passed over: a page of headers shows fragments too.

A file whose text did not change is not touched. Prints the paths, separated by semicolons.
"""
import pathlib
import re
import sys


def blocks(text):
    """(line number, code) of each ```cpp block."""
    for found in re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start(1)) + 1, found.group(1)


def program(here, code):
    if re.search(r"^int main\(", code, re.MULTILINE):
        return here + code
    # Emptied, not removed: the compiler's line numbers stay those of the page.
    body = re.sub(r"^#include.*$", "", code, flags=re.MULTILINE)
    includes = re.findall(r"^#include.*$", code, re.MULTILINE)
    return "\n".join(["#include <mneme/mneme.hpp>", *includes, "int main() {", here + body + "}", ""])


def programs(page, found):
    if not found or "int main(" not in found[0][1]:
        sys.exit(f"{page}: the first ```cpp block must be a complete program")
    for n, (line, code) in enumerate(found, 1):
        yield f"{page.stem}_{n}.cpp", program(f'#line {line} "{page}"\n', code)


def headers(page, found):
    for line, code in found:
        if "#pragma once" in code:
            names = re.findall(r"^(?:class|struct) (\w+)", code, re.MULTILINE)
            yield f"{names[-1]}.hpp", f'#line {line} "{page}"\n{code}'


def main():
    page, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    found = list(blocks(page.read_text(encoding="utf-8")))
    files = {"programs": programs, "headers": headers}[sys.argv[3]](page, found)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in files:
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    print(";".join(paths), end="")


main()
