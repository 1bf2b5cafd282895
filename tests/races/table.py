#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Makes docs/races.md of what `race-mm --rounds` has printed.

Arguments are two files, of the stock kernel and of the debug kernel. Of a race that is in a file more than
once, the last time counts.
"""

import pathlib
import re
import sys

LINE = re.compile(r"(ok|FAIL) +(.*?): (\d+) rounds hit in ([\d.]+) s(, and then)?")
HEAD = """\
# Races for user memory, and how often they were hit

Written by `make races` (docs/rig.md): each race of `race-mm` goes on until memory was taken away as often as
was asked for while a job was under way that may write it, or a submission in the kernel that needs it; or
until its time is up. What was taken away has a witness that must not change
([tests/client](../tests/client/README.md)); after every few seconds of a race the device must work and nothing
be left over, the kernel's log is clean, and kmemleak finds nothing on the debug kernel. **Bold** is what was
given up before it had been hit as often as asked for.

| race | rounds hit on stock | seconds | rounds hit on debug | seconds |
|---|--:|--:|--:|--:|"""


def read(path):
    """{race: its cells}, in the order in which they were run."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        match = LINE.match(line)
        if match:
            found[match[2]] = cells(*match.groups())
    return found


def cells(verdict, _, hit, seconds, failed):
    """Of one race."""
    mark = "" if verdict == "ok" else "**"
    hits = f"{int(hit):,}{' and failed' if failed else ''}"
    return f"{mark}{hits}{mark} | {float(seconds):.0f}"


def main(stock, debug):
    stock, debug = (read(pathlib.Path(path)) for path in (stock, debug))
    print(HEAD)
    for race in {**stock, **debug}:
        both = [kernel.get(race, "- | -") for kernel in (stock, debug)]
        print(f"| {race} | {' | '.join(both)} |")


main(*sys.argv[1:])
