#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Measures how the source of the driver, and of what tests it, is written: docs/house.md holds the table.

    measure.py CHECKOUT [--offenders]
    measure.py CHECKOUT --check         fails for comments over 100 columns, and for too many openers

Counts by lines and indentation, as rustfmt leaves them; KUnit suites are left out. --offenders also lists
the places behind the figures.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

ITEM = re.compile(r"^\s*pub(\([^)]*\))? +(const |unsafe |async )*(fn|struct|enum|trait|type|const|static|mod|union)\b")
FUNCTION = re.compile(r"^(\s*)(pub(\([^)]*\))? +)?(const |unsafe |extern \"C\" )*fn \w+")
UNSAFE = re.compile(r"\bunsafe\s*\{")
OPENERS = re.compile(r"^(What|Where|Whether|How|Who|Which|When)\b")
LONGEST_LINE = 100
# Doc blocks that may open with one of these words, in percent.
MOST_OPENERS = 2


@dataclass
class Measure:
    """Figures of one part of the tree."""

    name: str
    lines: int = 0
    files: int = 0
    longest_file: tuple[int, str] = (0, "")
    functions: list[tuple[int, str]] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    items: int = 0
    documented: int = 0
    doc_blocks: int = 0
    openers: list[str] = field(default_factory=list)
    long_lines: list[str] = field(default_factory=list)
    long_comments: list[str] = field(default_factory=list)

    def share_of_openers(self) -> float:
        return 100 * len(self.openers) / max(self.doc_blocks, 1)


def without_tests(lines: list[str]) -> list[str]:
    """The lines before the first KUnit suite, which ends a file."""
    for number, line in enumerate(lines):
        if "kunit_tests(" in line and line.startswith("#["):
            return lines[: number - 1]
    return lines


def function_end(lines: list[str], start: int, indent: str) -> int | None:
    """The line of the closing brace of the function that begins at `start`, if it has a body."""
    for number in range(start, len(lines)):
        line = lines[number]
        if line.rstrip().endswith(";") and number == start:
            return None
        if line.startswith(indent + "}"):
            return number
        if number > start and line.rstrip() == "" and ";" in lines[number - 1] and "{" not in "".join(lines[start:number]):
            return None
    return None


def is_documented(lines: list[str], number: int) -> bool:
    """Whether a doc comment stands above the item, or above its attributes."""
    while number > 0:
        number -= 1
        text = lines[number].strip()
        if text.startswith("///") or text.startswith("#[doc"):
            return True
        if not (text.startswith("#[") or text.startswith(")]") or text.endswith(",")):
            return False
    return False


def measure(total: Measure, path: Path, root: Path) -> None:
    """Adds a file's figures to `total`."""
    name = path.relative_to(root)
    everything = path.read_text().splitlines()
    lines = without_tests(everything)
    total.files += 1
    total.lines += len(lines)
    total.longest_file = max(total.longest_file, (len(lines), str(name)))
    for number, line in enumerate(everything):
        if len(line) > LONGEST_LINE:
            total.long_lines.append(f"{name}:{number + 1}")
            if line.strip().startswith("//"):
                total.long_comments.append(f"{name}:{number + 1}")
    for number, line in enumerate(lines):
        where = f"{name}:{number + 1}"
        text = line.strip()
        if UNSAFE.search(line) and not text.startswith("//"):
            total.unsafe.append(where)
        if ITEM.match(line):
            total.items += 1
            total.documented += is_documented(lines, number) or text.startswith("pub(crate) mod")
        if found := FUNCTION.match(line):
            end = function_end(lines, number, found[1])
            if end is not None:
                total.functions.append((end - number + 1, where))
        doc = text[3:].strip() if text.startswith(("///", "//!")) else None
        before = lines[number - 1].strip() if number else ""
        if doc and not before.startswith(text[:3]):
            total.doc_blocks += 1
            if OPENERS.match(doc):
                total.openers.append(f"{where}: {doc}")


def row(label: str, values: list[str]) -> str:
    return f"| {label} | " + " | ".join(values) + " |"


def per_thousand(count: int, lines: int) -> str:
    return f"{1000 * count / max(lines, 1):.1f}"


def table(parts: list[Measure]) -> str:
    """The figures of all parts, side by side."""

    def lengths(part: Measure) -> str:
        values = sorted(length for length, _ in part.functions)
        tenths = quantiles(values, n=10, method="inclusive")
        return f"{tenths[4]:.0f} / {tenths[8]:.0f} / {values[-1]}"

    return "\n".join(
        [
            row("", [part.name for part in parts]),
            "|---|" + "--:|" * len(parts),
            row("files, lines", [f"{p.files}, {p.lines:,}" for p in parts]),
            row("longest file, in lines", [f"{p.longest_file[0]} ({p.longest_file[1]})" for p in parts]),
            row("function lines: median / p90 / max", [lengths(p) for p in parts]),
            row("unsafe blocks per 1,000 lines", [per_thousand(len(p.unsafe), p.lines) for p in parts]),
            row("public items documented", [f"{100 * p.documented / max(p.items, 1):.0f} %" for p in parts]),
            row("doc blocks that open with What, Where, ...", [f"{p.share_of_openers():.1f} %" for p in parts]),
            row(f"lines over {LONGEST_LINE} columns", [str(len(p.long_lines)) for p in parts]),
        ]
    )


def check(parts: list[Measure]) -> str | None:
    """What is wrong, if anything is."""
    wrong = [f"{where}: a comment of more than {LONGEST_LINE} columns" for p in parts for where in p.long_comments]
    for part in parts:
        if part.share_of_openers() > MOST_OPENERS:
            wrong += [f"{part.name}: too many doc blocks open with What, Where, ...:", *part.openers]
    return "\n".join(wrong) or None


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    above, below = Measure("driver, above `abstractions/`"), Measure("`abstractions/`")
    tests = Measure("`tests/` (model, programs)")
    for path in sorted(root.rglob("*.rs")):
        folder = path.relative_to(root).parts[0].removesuffix(".rs")
        if folder != "out" and path.name != "bindings_generated.rs":
            measure({"abstractions": below, "tests": tests}.get(folder, above), path, root)
    parts = [above, below, tests]
    if "--check" in sys.argv[2:]:
        sys.exit(check(parts))
    print(table(parts))
    if "--offenders" in sys.argv[2:]:
        for part in parts:
            print(f"\n{part.name}: longest functions")
            for length, where in sorted(part.functions, reverse=True)[:10]:
                print(f"{length:5} {where}")
            print("\n".join(["", "doc openers:", *part.openers, "", "long lines:", *part.long_lines]))
            if not part.name.startswith("`"):
                print("\n".join(["", "unsafe:", *part.unsafe]))


if __name__ == "__main__":
    main()
