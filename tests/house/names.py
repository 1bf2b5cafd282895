#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Do the tests exist that docs/faults.md and docs/instruments.md name?

    tests/house/names.py CHECKOUT       names each test and mutant that is not in the tree
    tests/house/names.py --self-test

The last column of a table in these pages says what holds a row. What stands there in backticks is a name: after
'mutant' of a file in tests/mutants, after 'KUnit' of a suite or one of its cases, and otherwise of anything in
the driver, the tests and the scripts: a program, a suite, a rule of the model. `GROUP: CASE` is a case of a
program, whose name is a string there that begins so; three dots stand for the rest of it. All pages are looked
through for mutants.
"""

import re
import sys
import unittest
from pathlib import Path

PAGES = ("faults.md", "instruments.md")
SUFFIXES = (".rs", ".sh", ".py", ".pml", ".mutant", ".toml", ".cases", ".md", "")
# Clauses are told apart outside of names.
TOKEN = re.compile(r"`([^`]+)`|;")
MUTANTS = re.compile(r"\b[Mm]utants? ((?:`[a-z0-9-]+`(?:, and |, | and )?)+)")


class Tree:
    """What a checkout has names for."""

    def __init__(self, sources, mutants, paths=()):
        self.mutants, self.paths = set(mutants), set(paths)
        # However strings and expressions are broken into lines.
        self.text = re.sub(r"\s*\\?\n\s*", " ", "\n".join(sources))
        self.kunit = set(re.findall(r"kunit_tests\((\w+)\)", self.text))
        self.kunit |= set(re.findall(r"#\[test\](?: #\[[^\]]*\])* fn (\w+)", self.text))

    @staticmethod
    def read(root):
        skipped = ("out", "target", ".git", "docs")
        paths = [
            path
            for path in root.rglob("*")
            if path.is_file() and not any(part in skipped for part in path.relative_to(root).parts)
        ]
        readable = [path for path in paths if path.suffix in SUFFIXES and path != Path(__file__).resolve()]
        sources = [path.read_text(errors="replace") for path in readable if path.stat().st_size < 1 << 20]
        mutants = [path.stem for path in paths if path.suffix == ".mutant"]
        return Tree(sources, mutants, [str(path.relative_to(root)) for path in paths])

    def has_word(self, name):
        return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", self.text) is not None

    def has_case(self, name):
        """A string that begins so."""
        return '"' + name.removesuffix("…").rstrip() in self.text

    def knows(self, clause, name):
        if re.search(r"\bmutants?\b", clause):
            return name in self.mutants
        if re.search(r"\bKUnit\b", clause):
            return all(part in self.kunit for part in name.split(": "))
        if any(path == name or path.endswith(f"/{name}") for path in self.paths):
            return True
        group, colon, case = name.partition(": ")
        if colon:
            return self.has_word(group) and (case in self.kunit or self.has_case(case))
        if name.startswith("--"):
            return all(self.has_word(part) for part in name.lstrip("-").split())
        if " " in name or name.endswith("…"):
            return self.has_case(name) or self.has_word(name)
        # `module::Type` is a name in two parts.
        return all(self.has_word(part) for part in name.split("::"))


def rows(page):
    """(line number, last column) of each row of the page's tables."""
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("|") and not set(line) <= set("|-: "):
            yield number, re.split(r"(?<!\\)\|", line.rstrip().rstrip("|"))[-1]


def unknown(tree, page):
    """(line number, name) of each name in the tables that the tree does not know."""
    for number, cell in rows(page):
        start = 0
        for match in TOKEN.finditer(cell):
            if match.group(1) is None:
                start = match.end()
            elif not tree.knows(cell[start : match.start()], match.group(1)):
                yield number, match.group(1)


def unknown_mutants(tree, page):
    for match in MUTANTS.finditer(page):
        for name in re.findall(r"`([^`]+)`", match.group(1)):
            if name not in tree.mutants:
                yield page.count("\n", 0, match.start()) + 1, name


def check(root):
    tree = Tree.read(root)
    wrong = []
    for path in sorted((root / "docs").glob("*.md")):
        page = path.read_text()
        found = set(unknown_mutants(tree, page))
        if path.name in PAGES:
            found |= set(unknown(tree, page))
        wrong += [f"{path.relative_to(root)}:{number}: there is no '{name}'" for number, name in sorted(found)]
    return wrong


class Tests(unittest.TestCase):
    TREE = Tree(
        [
            'bad("a name that is \\\n    broken", x); good("another name", y);',
            "#[kunit_tests(some_suite)]\nmod tests {\n#[test]\nfn some_case() {}\n}",
            "suite_loads() { program; }",
        ],
        ["some-mutant"],
        ["scripts/loads", "tests/rig/counts"],
    )

    def wrong(self, cell):
        page = f"| fault | test |\n|---|---|\n| x | {cell} |\n"
        return [name for _, name in unknown(self.TREE, page)]

    def test_what_is_there(self):
        for cell in (
            "KUnit `some_suite`; mutant `some-mutant`",
            "KUnit `some_suite: some_case`",
            "conformance `another name`, `a name that …`",
            "`program: a name that is broken`; `scripts/loads`, `counts`, `suite_loads`",
        ):
            self.assertEqual(self.wrong(cell), [], cell)

    def test_what_is_not(self):
        for cell, names in (
            ("KUnit `some_suites`", ["some_suites"]),
            ("KUnit `some_suite`; mutants `some-mutant`, `other-mutant`", ["other-mutant"]),
            ("`program: a name`; `program: name`; `--option`", ["program: name", "--option"]),
            ("`suite`, `scripts/load`, `nothing of the kind …`", ["suite", "scripts/load", "nothing of the kind …"]),
        ):
            self.assertEqual(self.wrong(cell), names, cell)

    def test_mutants_of_the_text(self):
        page = "It is seen.\nThe mutants `some-mutant` and\n`x`, mutant `gone-one`, are."
        self.assertEqual(list(unknown_mutants(self.TREE, page)), [(3, "gone-one")])


def main():
    if sys.argv[1:] == ["--self-test"]:
        return unittest.main(argv=[sys.argv[0]])
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wrong = check(Path(sys.argv[1]).resolve())
    print("\n".join(wrong))
    return sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
