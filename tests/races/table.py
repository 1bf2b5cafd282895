#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Makes docs/races.md of what `race-mm --rounds` has printed.

Arguments are a file with the names of all races, and two of results, of the stock kernel and of the debug
kernel. A race that is in a file more than once went on: its times are added up. What there is to say about the
runs is in notes.md, and ends the page. If a race has no results on one of the kernels this is no whole page:
status 3.
"""

import dataclasses
import pathlib
import re
import sys

LINE = re.compile(r"(ok|FAIL) +(.*?): (\d+) rounds hit in ([\d.]+) s(?:, not (\d+)|(, and then))?")
HEAD = """\
# Races for user memory, and how often they were hit

Written by `make races` (docs/rig.md): each race of `race-mm` goes on until memory was taken away as often as
was asked for while a job was under way that may write it, or a submission in the kernel that needs it; or
until its time is up. What was taken away has a witness that must not change
([tests/client](../tests/client/README.md)); after every few seconds of a race the device must work and nothing
be left over. **Bold** is what was given up before it had been hit as often as asked for. The seconds, and what
comes about within them, depend on what else the machine does: both kernels run by emulation.

| race | rounds hit on stock | seconds | rounds hit on debug | seconds |
|---|--:|--:|--:|--:|"""


@dataclasses.dataclass
class Race:
    """What came of a race on one kernel."""

    hit: int = 0
    seconds: float = 0.0
    wanted: int = 0
    failed: bool = False

    def add(self, verdict, hit, seconds, wanted, failed):
        self.hit += int(hit)
        self.seconds += float(seconds)
        self.wanted = max(self.wanted, int(wanted or 0))
        self.failed |= bool(failed) or verdict == "FAIL" and not wanted

    def cells(self):
        hits = f"{self.hit:,}"
        if self.failed:
            hits = f"**failed** after {hits}"
        elif self.hit < self.wanted:
            hits = f"**{hits}** of {self.wanted:,}"
        return f"{hits} | {self.seconds:.0f}"


def read(path):
    """{race: what came of it}, in the order in which they were run first."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        match = LINE.match(line)
        if match:
            verdict, name, *rest = match.groups()
            found.setdefault(name, Race()).add(verdict, *rest)
    return found


def main(names, stock, debug):
    stock, debug = (read(pathlib.Path(path)) for path in (stock, debug))
    names = pathlib.Path(names).read_text().splitlines()
    print(HEAD)
    missing = []
    for race in {**dict.fromkeys(names), **stock, **debug}:
        both = [kernel[race].cells() if race in kernel else "- | -" for kernel in (stock, debug)]
        print(f"| {race} | {' | '.join(both)} |")
        if race in names and not (race in stock and race in debug):
            missing.append(race)
        if race not in names:
            print(f"there is no such race any more: {race}", file=sys.stderr)
            missing.append(race)
    print()
    print((pathlib.Path(__file__).parent / "notes.md").read_text(), end="")
    return 3 if missing or not names else 0


sys.exit(main(*sys.argv[1:]))
