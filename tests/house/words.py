#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""One word, one thing: is there a second type of the same name?

    tests/house/words.py CHECKOUT       names each, and each file whose head says nothing of the C side
    tests/house/words.py --self-test

Looked at are the types of the driver that other files use. Those of `abstractions/` bear the names of the kernel,
and are known by their module (`ttm::Device`). A command table, a packet and a test have words of their own.
"""

import re
import sys
import unittest
from pathlib import Path

TYPE = re.compile(r"^ *pub(?:\([^)]*\))? (?:unsafe )?(?:struct|enum|union|trait|type) (\w+)", re.M)
HEAD = re.compile(r"^//!(.*)$", re.M)
# How a head says it: by name, or by the C header that a module is about.
C_SIDE = re.compile(r"C (?:driver|core|header|object|side)|`(?:amdgpu|drm|ttm|dma|cik)_|struct ")
SKIPPED = ("tests", "out", "abstractions")
OWN_WORDS = ("hw/atom", "hw/gfx7/pm4.rs", "hw/gfx7/sdma_packet.rs", "hw/gfx7/recorder.rs", "fake.rs", "tests.rs")
NO_C_SIDE = ("abstractions.rs", "abstractions/drm/children.rs", "abstractions/maple_tree.rs", "abstractions/bound.rs", "hw/gfx7/regs.rs", "hw/gfx7/recorder.rs", "hw/gfx7/submissions.rs", "fake.rs", "tests.rs")
# Names that mean two things all the same, and why.
TWICE = {
    "Timeline": "the fences of a ring, the updates of an address space: nothing knows both",
    "Mapping": "one is an alias of the other",
    "Flags": "of GEM_USERPTR, of the machine that runs command tables",
}


def listed(name: str, among: tuple) -> bool:
    return any(name.startswith(prefix) or name.endswith("/" + prefix) for prefix in among)


def without_tests(text: str) -> str:
    return text.split("kunit_tests(")[0]


def doubles(files: dict) -> list:
    """Types of one name, by the texts of files."""
    places: dict = {}
    for name, text in files.items():
        for kind in TYPE.finditer(without_tests(text)):
            places.setdefault(kind[1], []).append(name)
    return [f"{kind} is {len(where)} types: {' '.join(where)}"
            for kind, where in places.items() if len(where) > 1 and kind not in TWICE]


def is_silent(text: str) -> bool:
    """Whether the head of a file says nothing of the C side."""
    return not C_SIDE.search(" ".join(line[1].strip() for line in HEAD.finditer(text)))


def check(root: Path) -> list:
    texts = {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*.rs"))}
    texts = {name: text for name, text in texts.items() if not name.startswith(("tests/", "out/"))}
    own = {name: text for name, text in texts.items()
           if not name.startswith(SKIPPED) and not listed(name, OWN_WORDS)}
    return doubles(own) + [f"{name}: its head does not say what the C driver calls this"
                           for name, text in texts.items() if not listed(name, NO_C_SIDE) and is_silent(text)]


class Tests(unittest.TestCase):
    def test_doubles(self):
        one, two = "pub(crate) struct Run;\n", "    pub(super) enum Run {}\n"
        self.assertEqual(doubles({"a.rs": one, "b.rs": two}), ["Run is 2 types: a.rs b.rs"])
        self.assertEqual(doubles({"a.rs": one, "b.rs": "struct Run;\n"}), [])
        self.assertEqual(doubles({"a.rs": one, "b.rs": "#[kernel::prelude::kunit_tests(x)]\n" + two}), [])
        self.assertEqual(doubles({"a.rs": "pub(crate) struct Timeline;", "b.rs": "pub(crate) struct Timeline;"}), [])

    def test_heads(self):
        self.assertFalse(is_silent("//! Rings (the C\n//! driver's `amdgpu_ring`).\n"))
        self.assertTrue(is_silent("//! Rings.\n\n// The C driver calls it otherwise.\n"))


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1], verbosity=0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    mistakes = check(Path(sys.argv[1]).resolve())
    print("\n".join(mistakes) or "every type has a name of its own, and every head tells of the C side")
    sys.exit(bool(mistakes))
