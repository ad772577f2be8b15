#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks or writes include/mneme/INDEX.md: index.py PROJECT_FOLDER OFFERS_PROGRAM [--write]

The text is that of the doc blocks above the classes; their order is fixed: name; equation (indented); Shapes; Cost;
State; Source; Deviations. What a class offers is what the program of offers.hpp prints. Also checks that README.md
names every member.
"""
import collections
import pathlib
import re
import subprocess
import sys

REMAKE = "cmake --build --preset default --target index"
# The first family that knows a memory by the op of its default backend, or by its name.
FAMILIES = {
    "Linear attention and delta rules": ["recurrence"],
    "State spaces and linear recurrences": ["selective_scan", "diagonal_scan", "diagonal_ssm", "gated_scan", "lmu"],
    "Gated recurrent cells": ["lstm_recurrence", "gru_recurrence"],
    "Lookups": ["product_key_read", "product_key_address", "embedding_bag"],
    "Key/value caches": ["attention"],
    "Other memories": [],
}
FIELDS = ["Shapes", "Cost", "State", "Source", "Deviations"]
FIELD = re.compile(r"(?:^|(?<=[.;)] ))(Shapes|Cost[^:.]*|State|Source|Deviations?|Checkpoints): ")
# Laws that ask a memory only if it offers this.
CONDITIONS = {"L13": "rewind", "L14": "live", "L21": "row-stable"}

INTRODUCTION = f"""# Index

<!-- Made by tests/docs/index.py from the headers and the compiler. Not edited by hand, but by:
{REMAKE} -->

Every memory, layer, combinator, cache policy and store: what stands above the class, and what the compiler says that
it offers (see [core/concepts.hpp](core/concepts.hpp)): `scan`, `scan_many` (batches), `read` (recall without writing),
`reserve` (grows), `end_segment` (acts at boundaries), `rewind`, `live` (evicts), row-stable (bits do not depend on
company). What stands in parentheses depends: of a combinator on its parts, of `kv_attention` on the policy. The laws
that `tests/laws/` runs on each are named by number; all of them also run on compositions. Elements of T are 4 bytes
each, or 8 where T is double.
"""

Block = collections.namedtuple("Block", "lines template")  # comment lines above a class; what stands between


def block(path):
    """The comment above the class named like the file: `name`, `name_of`, or what `using name` means."""
    text = path.read_text(encoding="utf-8")
    alias = re.search(rf"^using {path.stem} = (\w+)<", text, re.MULTILINE)
    name = re.escape(alias.group(1)) if alias else rf"{path.stem}(?:_of)?"
    found = re.search(rf"((?:^//.*\n)+)((?:^(?:template| ).*\n)*)^(?:class|struct) {name}\b", text, re.MULTILINE)
    if not found:
        sys.exit(f"{path}: no comment above the class {path.stem}")
    return Block([line[2:].rstrip() for line in found.group(1).splitlines()], found.group(2))


def parse(path):
    """name, paragraphs (text, or a list of lines of equations), {field: (label, text)}"""
    lines, _ = block(path)
    is_field = [not line.startswith("  ") and bool(FIELD.search(line[1:])) for line in lines]
    start = [*is_field, True].index(True)
    paragraphs = []
    for line in lines[:start]:
        if line.startswith("   "):
            if not paragraphs or isinstance(paragraphs[-1], str):
                paragraphs.append([])
            paragraphs[-1].append(line[3:])
        elif paragraphs and isinstance(paragraphs[-1], str):
            paragraphs[-1] += line
        else:
            paragraphs.append(line.strip())
    prose = " ".join(line.strip() for line in lines[start:])
    parts = FIELD.split(prose)
    if parts[0].strip():  # what stands before a field that begins within its line
        paragraphs.append(parts[0].strip())
    fields = {}
    for label, text in zip(parts[1::2], parts[2::2]):
        fields[{"Deviation": "Deviations"}.get(label, label.split(" ")[0])] = (label, text.strip())
    order = [f for f in fields if f in FIELDS]
    if order != sorted(order, key=FIELDS.index):
        sys.exit(f"{path}: {', '.join(order)}: expected the order {', '.join(FIELDS)}")
    return paragraphs[0], paragraphs[1:], fields


def family(path):
    op = re.search(r"Backend = default_backend<(\w+)", block(path).template)
    known_by = {path.stem, op.group(1) if op else ""}
    return next((f for f, members in FAMILIES.items() if known_by & set(members)), "Other memories")


def ranges(laws):
    """L1 to L3, L5"""
    numbers, text = [int(law[1:]) for law in laws], []
    for n in numbers:
        if n - 1 not in numbers:
            text.append(f"L{n}")
        elif n + 1 not in numbers:
            text[-1] += f"{',' if n - 2 not in numbers else ' to'} L{n}"
    return ", ".join(text)


def entry(header, path, offers, laws):
    name, paragraphs, fields = parse(path)
    for needed in ("Cost", "State"):
        if needed not in fields:
            sys.exit(f"{path}: the comment above the class says nothing of `{needed}`")
    says = "Row-stable." in " ".join(text for _, text in fields.values())
    if says and "row-stable" not in offers:
        sys.exit(f"{path}: the comment says row-stable, the class does not")
    yield f"### `{path.stem}`\n\n{name} [{header}]({header})\n"
    for p in paragraphs:
        yield p + "\n" if isinstance(p, str) else "\n".join(["```", *p, "```"]) + "\n"
    for label, text in fields.values():
        yield f"- {label}: {text.replace('Row-stable.', '').replace('  ', ' ').strip()}"
    offered = re.sub("[()]", "", offers).split(", ")
    asked = [law for law in laws if law not in CONDITIONS or CONDITIONS[law] in offered]
    yield f"- Offers: {offers}\n- Laws: {ranges(asked)}\n"


def rule(path):
    """The cells of a policy or a store: what it does, its source."""
    name, paragraphs, fields = parse(path)
    text = " ".join([name, *(p for p in paragraphs if isinstance(p, str))])
    text = re.sub("^(Layout|Codec|Layout and codec in one): ", "", text)
    return [text[0].upper() + text[1:], fields.get("Source", ("", ""))[1]]


def table(titles, rows):
    yield "| " + " | ".join(titles) + " |"
    yield "|" + "---|" * len(titles)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def index(project, lines):
    root = project / "include/mneme"
    laws = re.findall(r'\{"(L\d+) ', (project / "tests/laws/laws.hpp").read_text(encoding="utf-8"))
    known = {header: (kind, rest) for kind, header, *rest in lines}
    for path in root.glob("core/compose/*.hpp"):
        header = str(path.relative_to(root))
        if header not in known and f"class {path.stem}_of" in path.read_text(encoding="utf-8"):
            sys.exit(f"{header} is missing in combinators() of tests/docs/offers.hpp")
    sections = collections.defaultdict(list)
    for header, (kind, rest) in sorted(known.items()):
        path = root / header
        if kind == "memory":
            folder = pathlib.Path(header).parent.name
            title = {"compose": "Combinators", "layer": "Layers"}.get(folder) or family(path)
            sections[title] += entry(header, path, rest[0], laws)
        else:
            sections[kind].append([f"[`{path.stem}`]({header})", *rule(path), *rest])

    yield INTRODUCTION
    for title in [*FAMILIES, "Layers", "Combinators"]:
        if sections[title]:
            yield from [f"## {title}\n", *sections[title]]
    yield "## Cache policies\n"
    yield from table(["policy", "rule", "source", "chosen per", "looks at"], sections["policy"])
    yield "## Cache stores\n\nA store is a layout over a codec: `store::ring<store::q8_0>`.\n"
    yield from table(["layout", "how entries lie", "source", "under the policies"], sections["layout"])
    codecs = sorted(root.glob("store/codec/*.hpp"))
    yield from table(["codec", "rows"], ([f"[`{p.stem}`]({p.relative_to(root)})", rule(p)[0]] for p in codecs))


def main():
    project, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    lines = [line.split("\t") for line in printed.splitlines()]
    text = "\n".join(index(project, lines)).rstrip("\n") + "\n"
    page = project / "include/mneme/INDEX.md"
    if "--write" in sys.argv:
        page.write_text(text, encoding="utf-8")
        return
    readme = (project / "README.md").read_text(encoding="utf-8")
    missing = [p for p in (pathlib.Path(line[1]).stem for line in lines) if not re.search(rf"`{p}\b", readme)]
    if missing:
        sys.exit(f"README.md does not name {', '.join(missing)}")
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"{page} is stale. Remake it: {REMAKE}")


main()
