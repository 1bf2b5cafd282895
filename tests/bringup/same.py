#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Says whether two bring-ups are the same: for a change of the driver that must not change what it does to the card.

    same.py [--all] TRACE TRACE

Both traces are the model's (see `marked-load`, which sets the marks between which they are compared). What the CPU
does is compared access by access, and what each engine does, packet by packet; not how the two are interleaved, as
they run side by side, nor how often a register is polled or the interrupt ring's read pointer is told. Bus addresses
of the guest's memory may differ from boot to boot: they must be the same but for a renaming of pages. `--all` shows
every difference, not the first of each stream.
"""

import argparse
import difflib
import json
import re
import sys
from pathlib import Path

from accesses import between_marks

# Kinds of events that belong to the driver's and the engines' doings; the rest (interrupts, walks, flushes) follows.
KINDS = {"r", "w", "cfg", "db", "pkt"}
# Written by the interrupt's thread, as often as it happens to run: only the last value counts.
READ_POINTER = "IH_RB_RPTR"
# Registers that hold the number of a page of the guest's memory, and how far it is shifted.
PAGES = {
    "INTERRUPT_CNTL2": 4,
    "VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR": 0,
    "VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR": 0,
}


def streams(events) -> dict[str, list[str]]:
    """What each engine and the CPU did, an event a line."""
    found: dict[str, list[str]] = {}
    pages: dict[int, int] = {}
    for event in events:
        if event["k"] not in KINDS:
            continue
        line = text(event, pages)
        if event.get("reg") == READ_POINTER:
            found["interrupts"] = [line]
        else:
            found.setdefault(event.get("by") or event.get("eng") or "host", []).append(line)
    return {name: without_polls(stream) for name, stream in found.items()}


def of_file(path: Path) -> dict[str, list[str]]:
    with path.open() as lines:
        return streams(between_marks(json.loads(line) for line in lines))


def text(event: dict, pages: dict[int, int]) -> str:
    shown = {key: value for key, value in event.items() if key not in ("n", "us", "k", "by")}
    shift = PAGES.get(event.get("reg", ""))
    if shift is not None:
        page = int(event["val"], 16) >> shift
        shown["val"] = f"page {pages.setdefault(page, len(pages))}"
    return " ".join([event["k"], *(f"{key}={value}" for key, value in sorted(shown.items()))])


def without_polls(stream: list[str]) -> list[str]:
    """Of reads of one register in a row only the last: the values before it are a matter of time."""
    register = [m[1] if (m := re.match(r"r .*\breg=(\S+)", line)) else None for line in stream]
    last = [a is None or a != b for a, b in zip(register, [*register[1:], None])]
    return [line for line, keep in zip(stream, last) if keep]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("traces", nargs=2, type=Path)
    args = parser.parse_args()
    first, second = map(of_file, args.traces)
    differ = False
    for name in sorted(first.keys() | second.keys()):
        a, b = first.get(name, []), second.get(name, [])
        if a == b:
            print(f"ok {name}: {len(a)} events are the same")
            continue
        differ = True
        lines = list(difflib.unified_diff(a, b, "before", "after", lineterm="", n=2))
        print("\n".join(lines if args.all else lines[:20]))
        print(f"not ok {name}: {len(a)} events before, {len(b)} after, not the same")
    return differ


if __name__ == "__main__":
    sys.exit(main())
