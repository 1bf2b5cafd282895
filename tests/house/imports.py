#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Imports in the kernel's form (Documentation/rust/coding-guidelines.rst): braces hold one item a line.

    tests/house/imports.py CHECKOUT       names each import of another form, in the driver and in tests/
    tests/house/imports.py --self-test

An empty comment after the last item keeps rustfmt from joining the lines. It may be left out after a group in braces.
"""

import re
import sys
import unittest
from pathlib import Path

USE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?\s+)?use\s[^;]*;", re.M)
# A line of an import: a group begins, a group ends, an item; or all of an import without braces.
LINE = re.compile(r"[^{},]*\{|\}[,;]( //)?|[^{},]+,( //)?|[^{},]+;")
SKIPPED = ("out", "target")


def is_vertical(use: str) -> bool:
    lines = [line.strip() for line in use.split("\n")]
    ends = [number for number, line in enumerate(lines) if number and line.startswith("}")]
    return all(map(LINE.fullmatch, lines)) and all(lines[end - 1].endswith((" //", "},")) for end in ends)


def check(root: Path) -> list:
    wrong = []
    for path in sorted(root.rglob("*.rs")):
        name = path.relative_to(root)
        if not set(SKIPPED) & set(name.parts) and path.name != "bindings_generated.rs":
            text = path.read_text()
            wrong += [
                f"{name}:{text.count(chr(10), 0, use.start()) + 1}: not one item a line, with `//` after the last"
                for use in USE.finditer(text)
                if "{" in use[0] and not is_vertical(use[0])
            ]
    return wrong


class Tests(unittest.TestCase):
    def test_vertical(self):
        for use in (
            "use a::b;",
            "use a::{\n    b,\n    c, //\n};",
            "pub(crate) use a::{\n    b::{\n        self,\n        c as d, //\n    },\n    e::*, //\n};",
            "    use a::{\n        b,\n        c::{\n            d,\n            e, //\n        },\n    };",
            "use a::{\n    b,\n    c::{\n        d,\n        e, //\n    }, //\n};",
        ):
            with self.subTest(use):
                self.assertTrue(USE.fullmatch(use))
                self.assertTrue(is_vertical(use))

    def test_another_form(self):
        for use in (
            "use a::{b, c};",
            "use a::{\n    b,\n    c,\n};",
            "use a::{\n    b, c, //\n};",
            "use a::{\n    b,\n    c::{d, e}, //\n};",
            "use a::{\n    b::{\n        c,\n        d,\n    },\n    e, //\n};",
            "pub use a::{\n    b, //\n    c\n};",
        ):
            with self.subTest(use):
                self.assertTrue(USE.fullmatch(use))
                self.assertFalse(is_vertical(use))


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1], verbosity=0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    mistakes = check(Path(sys.argv[1]).resolve())
    print("\n".join(mistakes) or "every import has the kernel's form")
    sys.exit(bool(mistakes))
