#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes headers of the library as one: single_header.py INCLUDE_FOLDER OUT HEADER...

Each #include "..." is replaced by the text of that header, where it is met first; #include <...> stays as it is. A
header that is included under an #if cannot be moved in this way: an error.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'#\s*include\s+"([^"]+)"')
LICENCE = "// SPDX-License-Identifier: Apache-2.0\n"


class Joined:
    def __init__(self):
        self.seen = set()
        self.lines = []

    def add(self, path):
        path = path.resolve()
        if path in self.seen:
            return
        self.seen.add(path)
        depth = 0
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
            include = INCLUDE.match(line)
            if include and depth > 0:
                sys.exit(f"{path}:{number}: an #include under an #if cannot be joined")
            if include:
                self.add(path.parent / include[1])
            elif line != LICENCE and not line.startswith("#pragma once"):
                depth += bool(re.match(r"#\s*if", line)) - bool(re.match(r"#\s*endif", line))
                self.lines.append(line)


def main():
    folder, out, *headers = sys.argv[1:]
    joined = Joined()
    for header in headers:
        joined.add(pathlib.Path(folder) / header)
    origin = f"// {', '.join(headers)}, joined by cmake/single_header.py.\n"
    text = LICENCE + origin + "#pragma once\n" + "".join(joined.lines)
    path = pathlib.Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


main()
