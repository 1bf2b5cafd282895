#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Lays what Mesa's programs did on two drivers side by side.

    compare.py C-LOG OUR-LOG
    compare.py --self-test

The logs are what `mesa` (tests/mesa/apps) wrote in the guest. Compared are the checks and their verdicts, what
programs said ('@begin', '@end'), and the records of their ioctls ('@file NAME.calls.gz'), lined up call by call.
A line for each comparison: 'ok' or 'not ok', and what. A difference must match an entry of explained.toml, and
each entry a difference, unless it says 'sometimes'.
"""

import base64
import difflib
import gzip
import re
import struct
import sys
import tomllib
import unittest
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent

# How the fields of each ioctl's argument follow each other (drm.h, amdgpu_drm.h): names with struct's letters.
# Of two lists the second is what comes back, where that is another structure.
CALLS = {
    0x00: ("VERSION", "major:i minor:i patch:i _:i name_len:Q name@:Q date_len:Q date@:Q desc_len:Q desc@:Q"),
    0x09: ("GEM_CLOSE", "handle:I _:I"),
    0x0C: ("GET_CAP", "capability:Q value:Q"),
    0x2D: ("PRIME_HANDLE_TO_FD", "handle:I flags:I fd:i"),
    0x2E: ("PRIME_FD_TO_HANDLE", "handle:I flags:I fd:i"),
    0xBF: ("SYNCOBJ_CREATE", "handle:I flags:I"),
    0xC0: ("SYNCOBJ_DESTROY", "handle:I _:I"),
    0xC1: ("SYNCOBJ_HANDLE_TO_FD", "handle:I flags:I fd:i _:I point:Q"),
    0xC2: ("SYNCOBJ_FD_TO_HANDLE", "handle:I flags:I fd:i _:I point:Q"),
    0xC3: ("SYNCOBJ_WAIT", "handles@:Q until@:q count:I flags:I first:I _:I deadline:Q"),
    0xC4: ("SYNCOBJ_RESET", "handles@:Q count:I _:I"),
    0xC5: ("SYNCOBJ_SIGNAL", "handles@:Q count:I _:I"),
    0xCA: ("SYNCOBJ_TIMELINE_WAIT", "handles@:Q points@:Q until@:q count:I flags:I first:I _:I deadline:Q"),
    0xCB: ("SYNCOBJ_QUERY", "handles@:Q points@:Q count:I flags:I"),
    0xCC: ("SYNCOBJ_TRANSFER", "from:I to:I from_point:Q to_point:Q flags:I _:I"),
    0xCD: ("SYNCOBJ_TIMELINE_SIGNAL", "handles@:Q points@:Q count:I flags:I"),
    0x40: ("GEM_CREATE", "size:Q alignment:Q domains:Q flags:Q", "handle:I _:I"),
    0x41: ("GEM_MMAP", "handle:I _:I", "offset:Q"),
    0x42: ("CTX", "op:I flags:I ctx:I priority:i", "first:I second:I third:I fourth:I"),
    0x43: ("BO_LIST", "op:I list:I count:I size:I entries@:Q", "list:I _:I"),
    0x44: ("CS", "ctx:I list:I count:I flags:I chunks@:Q", "sequence:Q"),
    0x45: ("INFO", "answer@:Q size:I query:I first:I second:I third:I fourth:I"),
    0x46: ("GEM_METADATA", "handle:I op:I flags:Q tiling:Q size:I"),
    0x47: ("GEM_WAIT_IDLE", "handle:I flags:I until@:Q", "status:I domain:I"),
    0x48: ("GEM_VA", "handle:I _:I op:I flags:I address:Q offset:Q size:Q point:Q syncobj:I count:I points@:Q"),
    0x49: ("WAIT_CS", "sequence:Q until@:Q ip:I instance:I ring:I ctx:I", "status:Q"),
    0x50: ("GEM_OP", "handle:I op:I value:Q count:I _:I"),
    0x51: ("GEM_USERPTR", "address:Q size:Q flags:I handle:I"),
    0x53: ("VM", "op:I flags:I", "flags:Q"),
    0x55: ("SCHED", "op:I fd:I priority:i ctx:I"),
}

INFO, CS = 0x45, 0x44
# INFO's queries that programs ask; others are called by their numbers.
QUERIES = {
    0x00: "ACCEL_WORKING", 0x02: "HW_IP_INFO", 0x03: "HW_IP_COUNT", 0x05: "TIMESTAMP", 0x0E: "FW_VERSION",
    0x0F: "NUM_BYTES_MOVED", 0x10: "VRAM_USAGE", 0x11: "GTT_USAGE", 0x14: "VRAM_GTT", 0x15: "READ_MMR_REG",
    0x16: "DEV_INFO", 0x17: "VIS_VRAM_USAGE", 0x18: "NUM_EVICTIONS", 0x19: "MEMORY", 0x1D: "SENSOR",
    0x1F: "VRAM_LOST_COUNTER", 0x21: "VIDEO_CAPS", 0x22: "MAX_IBS", 0x23: "GPUVM_FAULT",
}  # fmt: skip
CHUNKS = {
    1: "IB", 2: "FENCE", 3: "DEPENDENCIES", 4: "SYNCOBJ_IN", 5: "SYNCOBJ_OUT", 6: "BO_HANDLES",
    7: "SCHEDULED_DEPENDENCIES", 8: "TIMELINE_WAIT", 9: "TIMELINE_SIGNAL",
}  # fmt: skip


def fields(layout, data):
    """Names and values of what `data` has of a layout. A name that ends in '@' is a pointer or a time, which
    each run has its own of; '_' is padding."""
    at, found = 0, {}
    for name, letter in (item.split(":") for item in layout.split()):
        size = struct.calcsize(f"<{letter}")
        if at + size > len(data):
            break
        if not name.endswith("@") and name != "_":
            (found[name],) = struct.unpack_from(f"<{letter}", data, at)
        at += size
    return found


def dwords(data):
    return {f"+{at:#x}": int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)}


@dataclass
class Call:
    """One ioctl: what it is called, and everything in it that can be compared."""

    name: str
    values: dict

    @staticmethod
    def read(line):
        number, result, asked, answered, *beyond = line.split(" ")
        number = int(number, 16)
        asked, answered = (bytes.fromhex(text) if text != "-" else b"" for text in (asked, answered))
        name, layout, *back = CALLS.get(number, (f"ioctl {number:#x}", ""))
        values = {"result": int(result)}
        values |= {f"asked {key}": value for key, value in fields(layout, asked).items()}
        values |= {f"answered {key}": value for key, value in fields(back[0] if back else layout, answered).items()}
        if number == INFO:
            query = values["asked query"]
            name += " " + QUERIES.get(query, f"{query:#x}")
            if beyond:
                values |= dwords(bytes.fromhex(beyond[0]) if beyond[0] != "-" else b"")
        elif number == CS and beyond:
            for n, chunk in enumerate(beyond[0].split(",")):
                kind, data = chunk.split(":")
                kind = CHUNKS.get(int(kind), kind)
                data = bytes.fromhex(data) if data != "-" else b""
                # The last two are a pointer.
                data = data[:16] if kind == "BO_HANDLES" else data
                values |= {f"{n} {kind} {at}": value for at, value in dwords(data).items()}
        elif number == 0x42:
            name += f" {values['asked op']}"
        return Call(name, values)


@dataclass
class Explanation:
    """Why something may differ."""

    where: str
    why: str
    sometimes: bool
    used: Counter = field(default_factory=Counter)


class Explanations:
    """The table, and what was explained by it."""

    def __init__(self, entries):
        self.entries = [
            Explanation(entry["where"], entry["why"], entry.get("sometimes", False)) for entry in entries
        ]

    def explain(self, what):
        for entry in self.entries:
            if fnmatchcase(what, entry.where):
                entry.used[what] += 1
                return True
        return False

    def unused(self):
        return [entry.where for entry in self.entries if not entry.used and not entry.sometimes]


@dataclass
class Log:
    """What `mesa` wrote on one driver."""

    checks: list
    said: dict
    files: dict

    @staticmethod
    def read(text):
        log, part, inside = Log([], {}, {}), "", None
        for line in text.replace("\r", "").splitlines():
            mark, _, name = line.partition(" ")
            if mark in ("@begin", "@file"):
                inside = (log.said if mark == "@begin" else log.files).setdefault(name, [])
            elif mark == "@end":
                inside = None
            elif inside is not None:
                inside.append(line)
            elif mark == "part:":
                part = name.rpartition("/")[2]
            elif mark in ("ok", "FAIL", "skip"):
                # What it took, how long and how much, is each run's own; that it loads, each driver's.
                words = re.sub(r"\d+(\.\d+)?", "N", name.strip())
                if part != "driver":
                    log.checks.append(f"{part}: {mark} {words}")
        return log

    def calls(self, name):
        data = gzip.decompress(base64.b64decode("".join(self.files[name])))
        return [Call.read(line) for line in data.decode().splitlines()]


def line_up(c, ours):
    """Pairs of calls of the same name in their order; one is None where only the other driver has it."""
    matcher = difflib.SequenceMatcher(None, [call.name for call in c], [call.name for call in ours], autojunk=False)
    for kind, c_from, c_to, our_from, our_to in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(c[c_from:c_to], ours[our_from:our_to])
        else:
            yield from ((call, None) for call in c[c_from:c_to])
            yield from ((None, call) for call in ours[our_from:our_to])


def differences(c, ours):
    """What differs between two records: where, and how."""
    for theirs, mine in line_up(c, ours):
        if theirs is None or mine is None:
            yield (theirs or mine).name, "only the C driver was asked" if mine is None else "only ours was asked"
            continue
        for key in theirs.values.keys() | mine.values.keys():
            pair = theirs.values.get(key), mine.values.get(key)
            if pair[0] != pair[1]:
                yield f"{mine.name}: {key}", "C {}, ours {}".format(*(show(value) for value in pair))


def show(value):
    return "nothing" if value is None else f"{value:#x}"


def verdict(good, what, wrong=()):
    for line in wrong:
        print(f"    {line}")
    print(f"{'ok' if good else 'not ok'} {what}")


def compare_checks(c, ours):
    wrong = [line for line in difflib.ndiff(c.checks, ours.checks) if line[0] in "+-"]
    verdict(not wrong and c.checks, f"the same {len(c.checks)} checks with the same verdicts on both drivers", wrong)


def compare_said(c, ours, explanations):
    for name in sorted(c.said.keys() | ours.said.keys()):
        theirs, mine = c.said.get(name, []), ours.said.get(name, [])
        lines = [line for line in difflib.ndiff(theirs, mine) if line[0] in "+-"]
        wrong = [line for line in lines if not explanations.explain(f"{name}: {line[2:].strip()}")]
        verdict(not wrong and theirs, f"{name} says the same on both drivers, {len(theirs)} lines", wrong[:40])


def compare_calls(c, ours, explanations):
    for name in sorted(file for file in c.files.keys() | ours.files.keys() if file.endswith(".calls.gz")):
        theirs, mine = c.calls(name), ours.calls(name)
        found = Counter(differences(theirs, mine))
        wrong = [
            f"{where}: {how} ({count} times)"
            for (where, how), count in sorted(found.items())
            if not explanations.explain(where)
        ]
        program = name.partition(".")[0]
        verdict(not wrong and theirs, f"{program}: {len(theirs)} ioctls, answered alike but for what is explained", wrong[:60])


def main(c_path, our_path):
    c, ours = (Log.read(Path(path).read_text(errors="replace")) for path in (c_path, our_path))
    explanations = Explanations(tomllib.loads((HERE / "explained.toml").read_text())["explained"])
    compare_checks(c, ours)
    compare_said(c, ours, explanations)
    compare_calls(c, ours, explanations)
    unused = explanations.unused()
    verdict(not unused, "each explanation explains something", unused)


class Tests(unittest.TestCase):
    """What the tool itself promises."""

    def call(self, number, asked, answered, result=0, beyond=""):
        return Call.read(f"{number:02x} {result} {asked.hex() or '-'} {answered.hex() or '-'} {beyond}".strip())

    def test_pointers_and_times_are_not_compared(self):
        create = self.call(0x45, struct.pack("<QII4I", 0x1234, 4, 0, 0, 0, 0, 0), b"", 0, "01000000")
        other = self.call(0x45, struct.pack("<QII4I", 0x9999, 4, 0, 0, 0, 0, 0), b"", 0, "01000000")
        self.assertEqual(create.name, "INFO ACCEL_WORKING")
        self.assertEqual(list(differences([create], [other])), [])

    def test_an_answer_that_differs_is_found(self):
        asked = struct.pack("<QII4I", 1, 4, 0, 0, 0, 0, 0)
        c, ours = (self.call(0x45, asked, asked, 0, text) for text in ("01000000", "00000000"))
        self.assertEqual(list(differences([c], [ours])), [("INFO ACCEL_WORKING: +0x0", "C 0x1, ours 0x0")])

    def test_an_errno_that_differs_is_found(self):
        c, ours = (self.call(0x09, struct.pack("<II", 1, 0), b"", result) for result in (0, -22))
        self.assertEqual(list(differences([c], [ours])), [("GEM_CLOSE: result", "C 0x0, ours -0x16")])

    def test_a_call_too_many_is_found(self):
        one = self.call(0x09, struct.pack("<II", 1, 0), b"")
        other = self.call(0x0C, struct.pack("<QQ", 1, 0), b"")
        self.assertEqual(list(differences([one], [one, other])), [("GET_CAP", "only ours was asked")])

    def test_chunks_are_compared(self):
        c, ours = (self.call(0x44, b"", b"", 0, f"1:00000000{n:02x}000000,2:-") for n in (0, 1))
        self.assertEqual(list(differences([c], [ours])), [("CS: 0 IB +0x4", "C 0x0, ours 0x1")])

    def test_a_log_is_read(self):
        log = Log.read("part: x/vulkan\nok    sums: 12 ms\n@begin clinfo\nok    no check\n@end clinfo\npart: x/driver\nok    y\n")
        self.assertEqual(log.checks, ["vulkan: ok sums: N ms"])
        self.assertEqual(log.said, {"clinfo": ["ok    no check"]})

    def test_explanations_are_used_or_named(self):
        explanations = Explanations([{"where": "GEM_*: offset", "why": ""}, {"where": "CS: *", "why": ""}])
        self.assertTrue(explanations.explain("GEM_MMAP: offset"))
        self.assertFalse(explanations.explain("INFO: x"))
        self.assertEqual(explanations.unused(), ["CS: *"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1])
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    main(*sys.argv[1:])
